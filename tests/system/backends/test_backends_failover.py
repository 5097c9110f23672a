"""A model server fails, and another one takes over."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Chunk, Client, Status, Task
from tests.support.blocking_client import AppServer
from tests.support.fakes.model_server import Answer, Hang, Stream
from tests.support.harness.backends import PATIENCE_S, Fleet, ask

FIRST: dict[str, Any] = {"priority": 9}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """`gpu1` is taken first; `gpu2` and it have one call at a time, `llama` two."""
    backends = {"gpu1": FIRST, "gpu2": {}, "llama": {"type": "openai", "parallel": 2}}
    with Fleet(tmp_path, **backends) as found:
        yield found.found()


def ran(task: Task) -> list[tuple[str | None, bool]]:
    """Each attempt: where, and whether it went well."""
    return [(ended.backend, ended.error is None) for ended in task.attempts]


# --- one call -----------------------------------------------------------------------------------


def test_a_refused_call_goes_to_another_at_once_and_spends_no_retry(fleet: Fleet) -> None:
    fleet["gpu1"].refuse()

    task = fleet.run(ask(max_retries=0))

    assert (task.status, task.executed_on, task.retry_count) == (Status.COMPLETED, "gpu2", 0)
    assert ran(task) == [("gpu1", False), ("gpu2", True)]
    assert task.attempts[0].error == f"no connection to {fleet['gpu1'].url}: connection refused"
    assert (task.error, fleet.state("gpu1").healthy) == (None, False)


def test_refused_by_all_but_the_last(fleet: Fleet) -> None:
    fleet["gpu1"].refuse()
    fleet["gpu2"].script(Answer(503, {"error": "loading"}))

    task = fleet.run(ask(max_retries=0))

    assert ran(task) == [("gpu1", False), ("gpu2", False), ("llama", True)]
    assert (task.executed_on, task.result["response"]) == ("llama", "Hello from here")


@pytest.mark.parametrize(
    "mishap",
    [
        Answer(500, {"error": "out of memory"}),
        Answer(502, b"bad gateway"),
        Answer(429, {"error": "slow down"}),
        Stream(words=("a", "b"), then="cut"),
        Stream(words=("a", "b"), then="stop"),
        Stream(words=("a",), then="error"),
    ],
)
def test_a_failed_call_is_made_again_elsewhere(fleet: Fleet, mishap: Any) -> None:
    fleet["gpu1"].script(mishap)

    task = fleet.run(ask())

    assert ran(task) == [("gpu1", False), ("gpu2", True)]
    assert (task.executed_on, task.retry_count) == ("gpu2", 1)
    assert task.result["response"] == "Hello from here"
    assert fleet.state("gpu1").failures == 1


def test_where_it_failed_last_is_known_after_a_restart(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1=FIRST, gpu2={}) as fleet:
        fleet.found()
        fleet["gpu1"].script(Answer(500, {"error": "out of memory"}))
        for fake in fleet.fakes.values():
            fake.default = Hang()
        task_id = fleet.queue.submit_task(ask())
        fleet["gpu2"].wait_for_calls(1)
        for fake in fleet.fakes.values():
            fake.default = Stream()
        fleet.reopened()
        task = fleet.ended(task_id)

    assert [ended.backend for ended in task.attempts[:2]] == ["gpu1", "gpu2"]
    assert (task.status, task.retry_count, task.interruptions) == (Status.COMPLETED, 1, 0)


def test_one_that_cuts_calls_in_a_row_is_left_alone(fleet: Fleet) -> None:
    news = fleet.queue.subscribe(["backend_changed"])
    fleet["gpu1"].script(*[Stream(words=("a",), then="cut")] * 3)
    tasks = [fleet.run(ask()) for _ in range(3)]
    out, back = news.get(PATIENCE_S), news.get(PATIENCE_S)

    assert {task.executed_on for task in tasks} == {"gpu2"}
    assert (out.backend, out.task) == ("gpu1", None)
    assert out.reason is not None
    assert out.reason.startswith(f"the connection to gpu1 at {fleet['gpu1'].url} broke: ")
    assert (back.backend, back.reason) == ("gpu1", None)
    assert fleet.run(ask()).executed_on == "gpu1"


# --- streams ------------------------------------------------------------------------------------


def kept(chunks: list[Chunk]) -> str:
    """What a reader has in the end that drops what it had at a restart."""
    begin = max((n for n, chunk in enumerate(chunks) if chunk.restart), default=0)
    return "".join(chunk.data["response"] for chunk in chunks[begin:] if chunk.data)


def sse_chunks(url: str) -> Iterator[Chunk]:
    """The stream of a task as any program may read it."""
    event: dict[str, str] = {}
    with httpx.stream("GET", url, timeout=PATIENCE_S) as answer:
        for line in answer.iter_lines():
            if not line and "event" in event:
                data = json.loads(event.get("data", "null"))
                yield Chunk(
                    id=event.get("id", ""),
                    data=data if event["event"] == "chunk" else None,
                    restart=event["event"] == "restart",
                    done=event["event"] == "end",
                )
            if not line:
                event = {}
            name, _, value = line.partition(": ")
            event[name] = value


@pytest.mark.parametrize("where", ["gpu2", "llama"])
def test_readers_of_a_cut_stream_begin_anew_with_the_other(tmp_path: Path, where: str) -> None:
    cut = threading.Event()
    kind = "openai" if where == "llama" else "ollama"
    with Fleet(tmp_path, gpu1=FIRST, **{where: {"type": kind}}) as fleet:
        fleet.found()
        fleet["gpu1"].script(Stream(words=["once", " upon"], gate=cut, then="cut"))
        fleet[where].default = Stream(words=["a", " whole", " reply"])
        app = AppServer.of(fleet.queue)
        task_id = fleet.queue.submit_task(ask())
        readers = [
            fleet.queue.stream_task(task_id, timeout=PATIENCE_S),
            Client(app.url).stream_task(task_id, timeout=PATIENCE_S),
            sse_chunks(f"{app.url}/api/tasks/{task_id}/stream"),
        ]
        firsts = [next(reader) for reader in readers]
        cut.set()
        rests = [list(reader) for reader in readers]
        task = fleet.ended(task_id)
        app.end()

    for first, rest in zip(firsts, rests, strict=True):
        assert (first.id, first.data["response"]) == ("1.0", "once")
        assert [chunk.restart for chunk in rest].count(True) == 1
        assert rest[-1].done
        assert kept([first, *rest]) == "a whole reply" == task.result["response"]
    assert (ran(task), task.executed_on) == ([("gpu1", False), (where, True)], where)


# --- many calls ---------------------------------------------------------------------------------


def test_one_dies_under_load_and_comes_back(fleet: Fleet) -> None:
    news = fleet.queue.subscribe(["backend_changed"])
    gate = threading.Event()
    for fake in fleet.fakes.values():
        fake.default, fake.peak = Stream(gate=gate), 0
    ids = [fleet.queue.submit_task(ask()) for _ in range(40)]
    for fake in fleet.fakes.values():
        fake.wait_for_calls(1)
    fleet["gpu1"].refuse()
    died = news.get(PATIENCE_S)
    gate.set()
    tasks = [fleet.ended(task_id) for task_id in ids]
    fleet["gpu1"].accept()
    returned = news.get(PATIENCE_S)
    while returned.reason is not None:
        returned = news.get(PATIENCE_S)
    again = fleet.run(ask())

    assert {task.status for task in tasks} == {Status.COMPLETED}
    assert all(task.retry_count <= 1 for task in tasks)
    assert [sum(ended.error is None for ended in task.attempts) for task in tasks] == [1] * 40
    assert (died.backend, returned.backend) == ("gpu1", "gpu1")
    assert died.reason is not None and "no connection" in died.reason
    assert again.executed_on == "gpu1"
    assert fleet.queue.get_queue_stats().completed_tasks == 3 + 41  # those that found them, too
    assert [fake.peak for fake in fleet.fakes.values()] == [1, 1, 2]


def test_all_die_and_one_comes_back(fleet: Fleet) -> None:
    for fake in fleet.fakes.values():
        fake.refuse()
    ids = [fleet.queue.submit_task(ask(max_retries=0)) for _ in range(10)]
    fleet.until(lambda: fleet.queue.get_queue_stats().waiting_for == {"backend": 10})
    fleet["llama"].accept()
    tasks = [fleet.ended(task_id) for task_id in ids]

    assert {(task.status, task.executed_on) for task in tasks} == {(Status.COMPLETED, "llama")}
    assert {task.retry_count for task in tasks} == {0}


def test_a_retry_after_rests_one_and_the_others_work_on(fleet: Fleet) -> None:
    fleet["gpu1"].script(Answer(429, {"error": "slow down"}, {"Retry-After": "300"}))

    tasks = [fleet.run(ask()) for _ in range(5)]

    assert {task.executed_on for task in tasks} <= {"gpu2", "llama"}
    assert ran(tasks[0]) == [("gpu1", False), ("gpu2", True)]
    state = fleet.state("gpu1")
    assert state.resting_s is not None and 200 < state.resting_s <= 300
    assert (state.healthy, state.calls, len(fleet["gpu1"].calls)) == (True, 2, 1)


def test_a_rest_ends(tmp_path: Path) -> None:
    with Fleet(tmp_path, gpu1=FIRST) as fleet:
        fleet.found()
        fleet["gpu1"].script(Answer(429, {"error": "slow down"}, {"Retry-After": "1"}))
        task = fleet.run(ask())

    first, second = task.attempts
    assert (task.status, task.retry_count) == (Status.COMPLETED, 1)
    assert (second.started_at - first.ended_at).total_seconds() >= 1.0
