"""The verbs that change a task, over `QueueManager` and over `Client`."""

from pathlib import Path

import pytest

from ollama_queue import Conflict, Invalid, NotFound, Priority, Status
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import (
    NOBODY,
    PATIENCE_S,
    WITH_AN_ID,
    Door,
    EmbeddedDoor,
    ask,
    in_this_process,
)


def test_a_waiting_task_is_cancelled_for_good(door: Door) -> None:
    door.busy()
    waiting = door.queue.submit_task(ask("never"))

    task = door.queue.cancel_task(waiting)

    assert (task.status, task.attempt, task.waiting_for) == (Status.CANCELLED, 0, None)
    assert task.completed_at is not None
    assert len(door.fake.calls) == 1


def test_a_running_task_is_cancelled_and_its_call_ended(door: Door) -> None:
    running = door.busy()

    assert door.queue.cancel_task(running).status is Status.CANCELLED
    door.fake.wait_for_disconnect()
    assert door.run(ask()).status is Status.COMPLETED
    assert door.queue.get_task(running).result is None


def test_the_more_urgent_runs_first_and_priorities_change_the_order(door: Door) -> None:
    running = door.busy()
    names = {"low": 1, "normal": 5, "raised": 1, "high": "high"}
    ids = {name: door.queue.submit_task(ask(name, priority=p)) for name, p in names.items()}

    raised = door.queue.update_task_priority(ids["raised"], "critical")
    door.queue.cancel_task(running)
    for task_id in ids.values():
        door.queue.wait(task_id, timeout=PATIENCE_S)

    assert (raised.priority, raised.status) == (15, Status.PENDING)
    order = [call.body["prompt"] for call in door.fake.calls]
    assert order == ["hang", "raised", "high", "normal", "low"]


def test_the_priority_of_a_running_task_is_for_its_next_attempt(door: Door) -> None:
    running = door.busy()

    task = door.queue.update_task_priority(running, Priority.LOW)

    assert (task.priority, task.status) == (1, Status.RUNNING)


@pytest.mark.parametrize("priority", [0, 16, "urgent", -3])
def test_a_priority_that_is_none_is_invalid(door: Door, priority: int | str) -> None:
    task_id = door.busy()

    with pytest.raises(Invalid) as refused:
        door.queue.update_task_priority(task_id, priority)
    assert refused.value.field == "priority"


def test_a_failed_task_runs_anew(door: Door) -> None:
    door.fake.script(Answer(400, {"error": "no"}))
    failed = door.run(ask())
    assert (failed.status, failed.error is None) == (Status.FAILED, False)

    again = door.queue.retry_task(failed.id)
    ended = door.queue.wait(failed.id, timeout=PATIENCE_S)

    assert again.error is None
    assert (ended.status, ended.attempt, ended.retry_count) == (Status.COMPLETED, 2, 0)
    assert len(ended.attempts) == 2


def test_a_cancelled_task_runs_anew(door: Door) -> None:
    running = door.busy()
    door.queue.cancel_task(running)
    door.queue.retry_task(running)

    assert door.queue.wait(running, timeout=PATIENCE_S).status is Status.COMPLETED


def test_an_ended_task_can_be_forgotten(door: Door) -> None:
    task = door.run(ask())
    gone = door.queue.delete_task(task.id)

    assert (gone.id, gone.status) == (task.id, Status.COMPLETED)
    assert (door.queue.list_tasks(), door.queue.get_queue_stats().total_tasks) == ([], 0)
    with pytest.raises(NotFound):
        door.queue.get_task(task.id)


def test_the_key_of_a_forgotten_task_is_free(door: Door) -> None:
    first = door.queue.submit(ask(), idempotency_key="k").task_id
    door.queue.wait(first, timeout=PATIENCE_S)
    door.queue.delete_task(first)

    again = door.queue.submit(ask("other"), idempotency_key="k")

    assert (again.created, again.task_id != first) == (True, True)


def test_an_unknown_task_is_not_found(queue: QueueAPI) -> None:
    for task_id in (NOBODY, "no such/../id?x=1#é", "x" * 256):
        for verb in WITH_AN_ID:
            with pytest.raises(NotFound):
                verb(queue, task_id)


def test_what_has_ended_cannot_be_changed(door: Door) -> None:
    done = door.run(ask()).id

    with pytest.raises(Conflict, match="completed"):
        door.queue.cancel_task(done)
    with pytest.raises(Conflict, match="completed"):
        door.queue.update_task_priority(done, 5)
    with pytest.raises(Conflict, match="completed") as refused:
        door.queue.retry_task(done)
    assert refused.value.field == "id"


@in_this_process
def test_a_full_queue_says_first_that_a_task_is_completed(kind: str, tmp_path: Path) -> None:
    door = EmbeddedDoor(kind, tmp_path, max_queue_size=1)
    done = door.run(ask()).id
    door.busy()
    door.queue.submit_task(ask())

    with pytest.raises(Conflict, match="completed"):
        door.queue.retry_task(done)
    door.close()


def test_what_has_not_ended_can_be_neither_retried_nor_deleted(door: Door) -> None:
    running = door.busy()
    waiting = door.queue.submit_task(ask())

    for task_id in (running, waiting):
        for verb in (door.queue.retry_task, door.queue.delete_task):
            with pytest.raises(Conflict, match="not ended"):
                verb(task_id)
