"""What becomes of calls that fail, through both doors."""

from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Status
from ollama_queue.actors.worker import Worker
from tests.support.fakes.model_server import Answer, Hang, Stream
from tests.support.harness.doors import PATIENCE_S, Door, EmbeddedDoor, ask, in_this_process


def test_a_call_that_fails_is_made_again(door: Door) -> None:
    door.fake.script(Answer(502, {"error": "bad gateway"}), Stream(then="cut"))

    task = door.run(ask())

    assert (task.status, task.attempt, task.retry_count) == (Status.COMPLETED, 3, 2)
    assert [ended.error is None for ended in task.attempts] == [False, False, True]
    assert task.error is None


@pytest.mark.parametrize(("allowed", "calls"), [(0, 1), (1, 2), (None, 3)])
def test_retries_are_limited(door: Door, allowed: int | None, calls: int) -> None:
    door.fake.script(*(Answer(502, {"error": f"no {n}"}) for n in range(5)))

    task = door.run(ask(max_retries=allowed))

    assert (task.status, task.attempt, len(door.fake.calls)) == (Status.FAILED, calls, calls)
    assert f"no {calls - 1}" in (task.error or "")
    assert task.max_retries == (2 if allowed is None else allowed)
    assert task.result is None


def test_a_hopeless_call_is_made_once(door: Door) -> None:
    door.fake.script(Answer(404, {"error": "404 page not found"}))

    task = door.run(ask())

    assert (task.status, task.attempt) == (Status.FAILED, 1)
    assert "404 page not found" in (task.error or "")


def test_a_model_that_is_listed_and_not_there_is_asked_for_twice(door: Door) -> None:
    door.fake.script(*[Answer(404, {"error": "model 'smollm2' not found"})] * 3)

    task = door.run(ask(max_retries=0))

    assert (task.status, task.attempt, task.retry_count) == (Status.FAILED, 2, 0)
    assert "model 'smollm2' not found" in (task.error or "")


def test_an_attempt_has_its_time(door: Door) -> None:
    door.fake.script(Hang())

    task = door.run(ask(timeout_s=0.05, max_retries=0))

    assert task.status is Status.FAILED
    assert "timeout_s = 0.05" in (task.error or "")


@in_this_process
def test_a_stop_spends_nothing_of_a_running_task(kind: str, tmp_path: Path) -> None:
    first = EmbeddedDoor(kind, tmp_path)
    task_id = first.busy()
    first.close()

    second = EmbeddedDoor(kind, tmp_path)
    task = second.queue.wait(task_id, timeout=PATIENCE_S)
    second.close()

    assert (task.status, task.attempt) == (Status.COMPLETED, 2)
    assert (task.retry_count, task.interruptions) == (0, 0)


@in_this_process
def test_a_lost_worker_counts_as_an_interruption(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([RuntimeError("a mistake of ours")] * 4)
    make = Worker.make

    def broken(worker: Worker, call: Any) -> Any:
        for error in failures:
            raise error
        return make(worker, call)

    monkeypatch.setattr(Worker, "make", broken)

    failed, after = door.run(ask(max_retries=0)), door.run(ask())

    assert (failed.status, failed.interruptions, failed.retry_count) == (Status.FAILED, 4, 0)
    assert "interrupted 4 times" in (failed.error or "")
    assert "a mistake of ours" in (failed.error or "")
    assert (after.status, after.interruptions) == (Status.COMPLETED, 0)


def test_a_backend_that_is_out_costs_no_retry(door: Door) -> None:
    door.run(ask())
    door.fake.refuse()
    refusals = door.direct.subscribe(["task_retrying"])
    task_id = door.queue.submit_task(ask(max_retries=0))
    refusals.get(PATIENCE_S)
    task = door.queue.get_task(task_id)
    assert (task.status, task.waiting_for, task.retry_count) == (Status.PENDING, "backend", 0)

    door.fake.accept()

    assert door.queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED


def test_an_attempt_that_a_crash_cut_is_told(door: Door) -> None:
    task_id = door.busy()
    door.reboot()

    task = door.queue.wait(task_id, timeout=PATIENCE_S)

    first, second = task.attempts
    assert (first.attempt, first.backend, first.status) == (1, "ollama", None)
    assert first.error == "the queue crashed while it ran"
    assert first.started_at <= first.ended_at <= second.started_at
    assert (second.attempt, second.error, task.interruptions) == (2, None, 1)
