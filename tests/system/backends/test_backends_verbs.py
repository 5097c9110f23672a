"""What is told of several model servers, and taking one out of use, at every door."""

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Client, NotFound, Status
from tests.support.blocking_client import AppServer
from tests.support.fakes.model_server import Answer, Hang
from tests.support.harness.app import client, error
from tests.support.harness.backends import PATIENCE_S, Fleet, ask
from tests.support.harness.cli import run as run_cli


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, gpu1={"priority": 9, "parallel": 2, "tags": ["fast"]}, gpu2={}) as found:
        yield found.found()


class Doors:
    """The same verb at each door; each answers whether the backend is drained."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def python(self, verb: str, name: str) -> bool:
        verbs = {
            "drain": self._fleet.queue.drain_backend,
            "resume": self._fleet.queue.resume_backend,
        }
        return verbs[verb](name).drained

    def http(self, verb: str, name: str) -> bool:
        answer = client(self._fleet.queue).post(f"/api/backends/{name}/{verb}")
        assert answer.status_code == 200
        return bool(answer.json()["drained"])

    def cli(self, verb: str, name: str) -> bool:
        told = self.command("backends", verb, name, "--output", "json")
        assert told.exit_code == 0
        (state,) = json.loads(told.stdout)
        return bool(state["drained"])

    def command(self, *words: str) -> Any:
        return run_cli(lambda _: nullcontext(self._fleet.queue), *words)


# --- drain and resume ---------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["python", "http", "cli"])
def test_a_drained_backend_gets_no_more_calls_until_it_is_resumed(fleet: Fleet, door: str) -> None:
    turn = getattr(Doors(fleet), door)
    fleet["gpu1"].script(Hang())
    held = fleet.queue.submit_task(ask(backend="gpu1"))
    fleet["gpu1"].wait_for_calls(1)
    news = fleet.queue.subscribe(["backend_changed"])

    assert turn("drain", "gpu1") is True

    elsewhere = [fleet.run(ask()).executed_on for _ in range(3)]
    named = fleet.queue.submit_task(ask(backend="gpu1"))
    assert fleet.queue.get_task(named).waiting_for == "backend"
    assert fleet.queue.get_task_status(held) is Status.RUNNING
    assert fleet.state("gpu1").running == 1
    assert turn("drain", "gpu1") is True  # twice is no mistake
    assert turn("resume", "gpu1") is False
    assert fleet.ended(named).executed_on == "gpu1"
    assert elsewhere == ["gpu2"] * 3
    assert {news.get(PATIENCE_S).backend for _ in range(3)} == {"gpu1"}


def test_a_drained_backend_stays_so_after_a_restart(fleet: Fleet) -> None:
    fleet.queue.drain_backend("gpu1")
    fleet.reopened()

    assert fleet.run(ask()).executed_on == "gpu2"
    assert [state.drained for state in fleet.queue.list_backends()] == [True, False]
    fleet.queue.resume_backend("gpu1")
    fleet.reopened()
    assert fleet.run(ask(backend="gpu1")).executed_on == "gpu1"


def test_with_all_drained_tasks_wait(fleet: Fleet) -> None:
    for name in fleet.fakes:
        fleet.queue.drain_backend(name)
    task_id = fleet.queue.submit_task(ask())

    assert fleet.queue.get_queue_stats().waiting_for == {"backend": 1}
    fleet.queue.resume_backend("gpu2")
    assert fleet.ended(task_id).executed_on == "gpu2"


@pytest.mark.parametrize("verb", ["drain", "resume"])
def test_a_backend_that_there_is_not_is_not_found(fleet: Fleet, verb: str) -> None:
    words = "there is no backend gpu7: choose from gpu1, gpu2"
    app = AppServer.of(fleet.queue)
    for door in (fleet.queue, Client(app.url)):
        with pytest.raises(NotFound, match=words) as unknown:
            getattr(door, f"{verb}_backend")("gpu7")
        assert unknown.value.field == "name"
    app.end()
    answer = client(fleet.queue).post(f"/api/backends/gpu7/{verb}")
    told = Doors(fleet).command("backends", verb, "gpu7")

    assert error(answer) == (404, "not_found", "name")
    assert (told.exit_code, told.stdout) == (3, "")
    assert words in told.stderr


# --- what is told -------------------------------------------------------------------------------


def test_each_backend_tells_how_it_is_doing(fleet: Fleet) -> None:
    fleet["gpu1"].script(Answer(400, {"error": "no such thing"}))
    fleet.run(ask())
    tasks = [fleet.run(ask()) for _ in range(3)]
    fleet["gpu1"].script(Hang())
    fleet.queue.submit_task(ask())
    fleet["gpu1"].wait_for_calls(5)
    one, two = client(fleet.queue).get("/api/backends").json()

    assert {task.executed_on for task in tasks} == {"gpu1"}
    assert one.pop("wait_s") >= 0
    assert one.pop("tokens_per_s") > 0
    assert one == {
        "name": "gpu1",
        "type": "ollama",
        "healthy": True,
        "running": 1,
        "parallel": 2,
        "error": None,
        "drained": False,
        "remote": False,
        "priority": 9,
        "tags": ["fast"],
        "version": "0.9.3",
        "models": ["m", "nomic-embed-text", "qwen3", "smollm2"],
        "loaded": ["m"],
        "pinned": [],
        "without": [],
        "resting_s": None,
        "calls": 5,
        "failures": 1,
        "tokens": 12,
    }
    assert (two["calls"], two["failures"], two["running"]) == (1, 0, 0)
    assert client(fleet.queue).get("/api/status").json()["backends"][1] == two


def test_the_feeds_name_the_backend_that_changed(fleet: Fleet) -> None:
    app = AppServer.of(fleet.queue)
    url = f"{app.url}/api/events?events=backend_changed"
    with httpx.stream("GET", url, timeout=PATIENCE_S) as answer:
        lines = answer.iter_lines()
        while next(lines) != "event: snapshot":
            pass
        fleet["gpu1"].refuse()
        fleet.run(ask())
        while next(lines) != "event: event":
            pass
        told = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
    app.end()

    assert (told["event"], told["backend"], told.get("task")) == ("backend_changed", "gpu1", None)
    assert "no connection" in told["reason"]


def test_the_command_line_shows_them_all(fleet: Fleet) -> None:
    fleet["gpu1"].refuse()
    fleet.run(ask())
    fleet.queue.drain_backend("gpu2")
    waiting = fleet.queue.submit_task(ask(backend="gpu2"))
    head, one, two = Doors(fleet).command("backends").stdout.splitlines()
    stats = Doors(fleet).command("status").stdout
    task = Doors(fleet).command("status", waiting)

    assert head.split()[:4] == ["NAME", "TYPE", "HEALTH", "RUNNING"]
    assert one.split()[:4] == ["gpu1", "ollama", "away", "0/2"]
    assert "no connection" in one
    assert two.split()[:4] == ["gpu2", "ollama", "drained", "0/1"]
    assert re.search(r"backend gpu1: +0 of 2 running, away: no connection", stats)
    assert re.search(r"backend gpu2: +0 of 1 running, drained\n", stats)
    assert "pending (backend)\n" in task.stdout and "backend:  gpu2\n" in task.stdout
    assert task.stderr == "No model server can take it now. See: ollama-queue backends\n"
