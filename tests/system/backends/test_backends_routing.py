"""Which of several model servers a task runs on."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Client, Invalid, NewTask, Status, embed_task, generate_task
from ollama_queue.actors.core.config.config import RemoteScheduling
from tests.support.blocking_client import AppServer
from tests.support.fakes.model_server import Hang, Stream
from tests.support.harness.app import client, error
from tests.support.harness.backends import Fleet, ask
from tests.support.harness.cli import run as run_cli

FAR = {"type": "openai", "remote": True}


# --- spreading ----------------------------------------------------------------------------------


def test_all_are_used_and_none_has_more_calls_than_it_may(tmp_path: Path) -> None:
    gate = threading.Event()
    limits = {"gpu1": 2, "gpu2": 1, "llama": 3}
    with Fleet(
        tmp_path,
        gpu1={"parallel": 2},
        gpu2={},
        llama={"type": "openai", "parallel": 3},
    ) as fleet:
        fleet.found()
        for fake in fleet.fakes.values():
            fake.default, fake.peak = Stream(gate=gate), 0
        ids = [fleet.queue.submit_task(ask()) for _ in range(30)]
        for name, limit in limits.items():
            fleet[name].wait_for_calls(limit)
        stats = fleet.queue.get_queue_stats()
        gate.set()
        tasks = [fleet.ended(task_id) for task_id in ids]

    assert {state.name: state.running for state in stats.backends} == limits
    assert (stats.running_tasks, stats.waiting_for) == (6, {"slot": 24})
    assert {task.status for task in tasks} == {Status.COMPLETED}
    assert {name: fleet[name].peak for name in limits} == limits
    ran = [task.executed_on for task in tasks]
    assert {name: ran.count(name) for name in limits} == {
        name: len(fake.calls) for name, fake in fleet.fakes.items()
    }
    assert all(task.result["response"] == "Hello from here" for task in tasks)


def test_fewer_workers_than_calls_are_shared(tmp_path: Path) -> None:
    with Fleet(tmp_path, workers=2, gpu1={"parallel": 4}, gpu2={"parallel": 4}) as fleet:
        fleet.found()
        for fake in fleet.fakes.values():
            fake.default = Hang()
        ids = [fleet.queue.submit_task(ask()) for _ in range(3)]
        for fake in fleet.fakes.values():
            fake.wait_for_calls(1)

        assert [fleet.state(name).running for name in fleet.fakes] == [1, 1]
        assert fleet.queue.get_task(ids[2]).waiting_for == "slot"


# --- the model decides --------------------------------------------------------------------------


def test_a_task_runs_where_its_model_is(tmp_path: Path) -> None:
    backends: dict[str, Any] = {"gpu1": {}, "gpu2": {}, "llama": {"type": "openai"}}
    fleet = Fleet(tmp_path, **backends)
    fleet.lists(gpu1=["one"], gpu2=["two:latest"], llama=["three", "four"])
    with fleet:
        wanted = ["one", "two", "three", "four", "two:latest", "one:latest"]
        tasks = [fleet.run(ask(model=model)) for model in wanted]

    ran = [task.executed_on for task in tasks]
    assert ran == ["gpu1", "gpu2", "llama", "llama", "gpu2", "gpu1"]
    assert {task.attempt for task in tasks} == {1}


def test_what_a_backend_is_said_to_serve_is_not_asked_for(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={"models": ["m"]}, gpu2={"models": ["mine"]}) as fleet:
        assert fleet.run(ask(model="mine")).executed_on == "gpu2"
        assert fleet.state("gpu2").models == ["mine"]


def test_a_loaded_model_is_preferred(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, gpu1={"parallel": 2}, gpu2={"parallel": 2})
    fleet["gpu1"].lists("m", "big", loaded=["m"])
    fleet["gpu2"].lists("m", "big", loaded=["m", "big"])
    with fleet:
        fleet.found()
        ran = [fleet.run(ask(model="big")).executed_on for _ in range(3)]

    assert ran == ["gpu2"] * 3


# --- the task decides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "where"),
    [("gpu1", {"gpu1"}), ("llama", {"llama"}), ("tag:fast", {"gpu2", "llama"})],
)
def test_a_task_says_where(tmp_path: Path, wish: str, where: set[str]) -> None:
    fast = {"tags": ["fast", "new"]}
    with Fleet(
        tmp_path, gpu1={"priority": 9}, gpu2=fast, llama={"type": "openai", **fast}
    ) as fleet:
        fleet.found()
        ids = [fleet.queue.submit_task(ask(backend=wish)) for _ in range(12)]
        ran = {fleet.ended(task_id).executed_on for task_id in ids}
        shown = fleet.queue.get_task(ids[0])

    assert ran <= where
    assert shown.backend == wish


def test_a_busy_backend_is_waited_for_by_those_that_name_it(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={}, gpu2={}) as fleet:
        fleet.found()
        fleet["gpu1"].script(Hang())
        held = fleet.queue.submit_task(ask(backend="gpu1"))
        fleet["gpu1"].wait_for_calls(1)
        named, free = (fleet.queue.submit_task(new) for new in (ask(backend="gpu1"), ask()))

        assert fleet.ended(free).executed_on == "gpu2"
        assert fleet.queue.get_task(named).waiting_for == "slot"
        fleet.queue.cancel_task(held)
        assert fleet.ended(named).executed_on == "gpu1"


def test_remote_execution_goes_far_and_comes_back_while_nothing_is_there(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={"parallel": 4}, far=FAR) as fleet:
        fleet.found()
        there = fleet.run(ask(remote_execution=True))
        near = fleet.run(ask())
        fleet["far"].refuse()
        back = fleet.run(ask(remote_execution=True))

    assert (there.executed_on, near.executed_on, back.executed_on) == ("far", "gpu1", "gpu1")
    assert [ended.backend for ended in back.attempts] == ["far", "gpu1"]
    assert back.retry_count == 0


def test_without_the_fallback_remote_execution_waits(tmp_path: Path) -> None:
    rules = RemoteScheduling(fallback_to_local=False)
    with Fleet(tmp_path, rules=rules, gpu1={}, far=FAR) as fleet:
        fleet.found()
        fleet["far"].refuse()
        task_id = fleet.queue.submit_task(ask(remote_execution=True))
        fleet.until(lambda: fleet.queue.get_task(task_id).attempt == 1)
        fleet.until(lambda: fleet.queue.get_task(task_id).waiting_for == "backend")
        fleet["far"].accept()
        task = fleet.ended(task_id)

    assert (task.status, task.executed_on, task.retry_count) == (Status.COMPLETED, "far", 0)


# --- what none may run --------------------------------------------------------------------------

WRONG = [
    (ask(backend="gpu7"), "backend", "choose from gpu1, llama, tag:fast"),
    (ask(backend="tag:slow"), "backend", "choose from gpu1, llama, tag:fast"),
    (ask(backend="fast"), "backend", "choose from gpu1, llama, tag:fast"),
    (ask(template="{{ .Prompt }}", backend="llama"), "template", "template"),
]


@pytest.mark.parametrize(("new", "field", "words"), WRONG)
def test_a_wish_that_cannot_come_true_is_refused_at_every_door(
    tmp_path: Path, new: NewTask, field: str, words: str
) -> None:
    backends: dict[str, Any] = {"gpu1": {"tags": ["fast"]}, "llama": {"type": "openai"}}
    with Fleet(tmp_path, **backends) as fleet:
        app = AppServer.of(fleet.queue)
        for door in (fleet.queue, Client(app.url)):
            with pytest.raises(Invalid, match=words) as refused:
                door.submit_task(new)
            assert refused.value.field == field
            with pytest.raises(Invalid, match=words) as refused:
                door.submit_batch([ask(), new])
            assert refused.value.field == f"tasks[1].{field}"
        body = {
            "type": "generate",
            "model": "m",
            "payload": new.payload,
            "options": new.options,
            "backend": new.backend,
        }
        answer = client(fleet.queue).post("/api/tasks", json=body)
        flags = [f"--option={name}={value}" for name, value in new.options.items()]
        flags += [f"--template={new.payload['template']}"] if "template" in new.payload else []
        told = run_cli(
            lambda _: nullcontext(fleet.queue),
            *("submit", "generate", "--model", "m", "--prompt", "hi"),
            *("--backend", new.backend or "", *flags),
        )
        app.end()

    assert error(answer) == (400, "invalid", field)
    assert told.exit_code == 2
    assert words in told.stderr
    assert not any(fake.calls for fake in fleet.fakes.values())


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (generate_task("m", "hi", template="{{ .Prompt }}"), "template"),
        (embed_task("m", "hi", truncate=False), "truncate"),
        (generate_task("m", "hi", remote_execution=True, context=[1]), "context"),
    ],
)
def test_what_only_ollama_knows_never_goes_elsewhere(
    tmp_path: Path, new: NewTask, field: str
) -> None:
    with Fleet(tmp_path / "one", gpu1={"parallel": 4}, far={**FAR, "priority": 9}) as fleet:
        fleet.found()
        tasks = [fleet.ended(fleet.queue.submit_task(new)) for _ in range(5)]
        assert {task.executed_on for task in tasks} == {"gpu1"}
        assert fleet["far"].calls == []
    with (
        Fleet(tmp_path / "two", far=FAR, llama={"type": "openai"}) as fleet,
        pytest.raises(Invalid) as refused,
    ):
        fleet.queue.submit_task(new)
    assert refused.value.field == field


def test_hints_go_where_they_are_taken_if_they_can(tmp_path: Path) -> None:
    """To the Ollama while it has a free slot, else without them; natively and drop-in."""
    new = generate_task("m", "hi", options={"num_ctx": 512, "tomorrow": 1}, keep_alive="1m")
    far = {"type": "openai", "priority": 9}
    with Fleet(tmp_path, gpu1={"parallel": 1}, llama=far) as fleet:
        fleet.found()
        first = fleet.run(new)
        fleet["gpu1"].script(Hang())
        held = fleet.queue.submit_task(new)
        second = fleet.run(new)
        body = {
            "model": "m",
            "prompt": "hi",
            "stream": False,
            "options": {"num_ctx": 5, "é\r\n": 1},
        }
        answer = client(fleet.queue).post("/api/generate", json=body)
        fleet.queue.cancel_task(held)
        plain = client(fleet.queue).post("/api/generate", json={**body, "options": {}})

    assert (first.executed_on, second.executed_on) == ("gpu1", "llama")
    assert (answer.status_code, answer.headers["X-Queue-Backend"]) == (200, "llama")
    assert answer.headers["X-Queue-Ignored"] == "num_ctx, %C3%A9%0D%0A"
    assert not {"num_ctx", "options", "keep_alive"} & fleet["llama"].calls[0].body.keys()
    assert "X-Queue-Ignored" not in plain.headers


def test_what_only_another_server_has_is_refused_for_what_it_cannot_do(tmp_path: Path) -> None:
    """Natively, in a batch and drop-in, at once; once an Ollama has the model, it runs there."""
    new = generate_task("far", "hi", template="{{ .Prompt }}")
    with Fleet(tmp_path, gpu1={}, llama={"type": "openai"}) as fleet:
        fleet.found()
        fleet["llama"].lists("m", "far")
        fleet.queue.probe_backends()
        for wrong in (lambda: fleet.queue.submit(new), lambda: fleet.queue.submit_batch([new])):
            with pytest.raises(Invalid, match="template cannot be sent"):
                wrong()
        body = {"model": "far", "prompt": "hi", "template": "t"}
        answer = client(fleet.queue).post("/api/generate", json=body)
        fleet["gpu1"].lists("m", "far")  # as a pull does: nobody has looked since
        task = fleet.run(new)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("template cannot be sent")
    assert task.executed_on == "gpu1"


def test_remote_execution_needs_a_remote_one(tmp_path: Path) -> None:
    rules = RemoteScheduling(fallback_to_local=False)
    with (
        Fleet(tmp_path, rules=rules, gpu1={}, gpu2={}) as fleet,
        pytest.raises(Invalid, match="needs a remote backend") as refused,
    ):
        fleet.queue.submit_task(ask(remote_execution=True))
    assert refused.value.field == "remote_execution"


def test_a_backend_may_be_named_on_the_command_line(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1={}, gpu2={}, far={"remote": True}) as fleet:
        fleet.found()
        for flags in (["--backend", "gpu2"], ["--remote-execution"]):
            told = run_cli(
                lambda _: nullcontext(fleet.queue),
                *("submit", "generate", "--model", "m", "--prompt", "hi", "--wait", *flags),
            )
            assert (told.exit_code, told.stdout) == (0, "Hello from here\n")

    assert {name: len(fake.calls) for name, fake in fleet.fakes.items()} == {
        "gpu1": 0,
        "gpu2": 1,
        "far": 1,
    }
