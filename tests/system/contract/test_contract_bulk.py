"""Many tasks at once, over `QueueManager` and over `Client`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ollama_queue import BulkError, BulkResult, Conflict, Invalid, NotFound, Status, TaskFilter
from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.actors.core.intake import bulk
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import NOBODY, Door, EmbeddedDoor, ask, in_this_process


def statuses(queue: QueueAPI, ids: list[str]) -> list[Status]:
    return [queue.get_task_status(task_id) for task_id in ids]


def waiting(queue: QueueAPI, count: int, **fields: Any) -> list[str]:
    """Tasks that wait for a while."""
    later = datetime.now(UTC) + timedelta(hours=1)
    return [
        queue.submit_task(ask(str(number), scheduled_at=later, **fields)) for number in range(count)
    ]


def failed(door: Door, count: int) -> list[str]:
    for _ in range(count):
        door.fake.script(Answer(400, {"error": "no"}))
    return [door.run(ask()).id for _ in range(count)]


# --- by ids -------------------------------------------------------------------------------------


def test_each_of_many_ids_is_done_or_has_its_error(door: Door) -> None:
    queue = door.queue
    done = door.run(ask()).id
    first, second = waiting(queue, 2)
    result = queue.cancel_tasks([first, NOBODY, second, done, first])

    assert (result.done, result.left, result.cursor) == (2, 0, None)
    assert [(error.id, error.code) for error in result.errors] == [
        (NOBODY, "not_found"),
        (done, "conflict"),
    ]
    assert statuses(queue, [first, second, done]) == ["cancelled", "cancelled", "completed"]


def test_the_errors_are_those_of_the_verb_for_one(door: Door) -> None:
    done = door.run(ask()).id
    for many, one in (
        (door.queue.cancel_tasks, door.queue.cancel_task),
        (door.queue.retry_tasks, door.queue.retry_task),
    ):
        with pytest.raises(Conflict) as refused:
            one(done)
        error = BulkError(done, "conflict", refused.value.message)
        assert many([done]) == BulkResult(0, [error], 0)


def test_a_running_task_is_cancelled_with_the_others(door: Door) -> None:
    running = door.busy()
    pending = door.queue.submit_task(ask())

    assert door.queue.cancel_tasks([running, pending]).done == 2
    assert statuses(door.queue, [running, pending]) == ["cancelled"] * 2


def test_many_are_retried_deleted_and_moved(door: Door) -> None:
    queue = door.queue
    ids = failed(door, 2)
    queue.pause()

    assert queue.retry_tasks(ids).done == 2
    assert statuses(queue, ids) == ["pending", "pending"]
    assert queue.reprioritize_tasks(ids, priority="high").done == 2
    assert [queue.get_task(task_id).priority for task_id in ids] == [10, 10]
    assert queue.cancel_tasks(ids).done == 2
    assert queue.delete_tasks(ids).done == 2
    with pytest.raises(NotFound):
        queue.get_task(ids[0])


# --- by filter ----------------------------------------------------------------------------------


def test_a_filter_matches_what_the_verb_can_be_done_to(door: Door) -> None:
    queue = door.queue
    done = door.run(ask(tags=["a"])).id
    tagged, other = waiting(queue, 2, tags=["a"]), waiting(queue, 1, tags=["b"])
    result = queue.cancel_tasks(filter={"tag": ["a"]})

    assert (result.done, result.errors, result.left) == (2, [], 0)
    assert statuses(queue, [*tagged, *other, done]) == [
        "cancelled",
        "cancelled",
        "pending",
        "completed",
    ]
    assert queue.cancel_tasks(filter=TaskFilter(tag=["a"])).done == 0


def test_an_empty_filter_matches_all(door: Door) -> None:
    queue = door.queue
    done, missed = door.run(ask()).id, failed(door, 1)
    (cancelled,) = waiting(queue, 1)

    assert queue.cancel_tasks(filter={}).done == 1
    queue.pause()
    assert queue.retry_tasks(filter={}).done == 2
    assert statuses(queue, [done, *missed, cancelled]) == ["completed", "pending", "pending"]
    assert queue.delete_tasks(filter={}).done == 1
    assert [task.id for task in queue.list_tasks()] == [cancelled, *missed]


@in_this_process
def test_slices_come_to_an_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SLICE", 3)
    ids = waiting(door.queue, 8)
    results = [door.queue.cancel_tasks(filter={}) for _ in range(4)]

    assert [(result.done, result.left) for result in results] == [(3, 5), (3, 2), (2, 0), (0, 0)]
    assert set(statuses(door.queue, ids)) == {"cancelled"}


@pytest.mark.parametrize(
    "filter", [{}, {"tag": ["a"]}, {"status": ["pending"], "model": ["smollm2:latest"]}]
)
def test_a_new_priority_comes_to_an_end(
    door: Door, monkeypatch: pytest.MonkeyPatch, filter: dict[str, Any]
) -> None:
    monkeypatch.setattr(bulk, "SLICE", 3)
    ids = waiting(door.queue, 7, tags=["a"])

    done = []
    while (result := door.queue.reprioritize_tasks(filter=filter, priority=9)).left != 0:
        done.append(result.done)
    assert sum([*done, result.done]) == 7
    assert {door.queue.get_task(task_id).priority for task_id in ids} == {9}
    assert door.queue.reprioritize_tasks(filter=filter, priority=9) == BulkResult(0, [], 0)


@in_this_process
def test_the_cursor_comes_to_each_task_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SLICE", 2)
    ids = waiting(door.queue, 5)

    cursor, done = None, []
    while True:
        result = door.queue.cancel_tasks(filter={"cursor": cursor})
        door.queue.pause()
        door.queue.retry_tasks(ids[-1:])  # it would match again, and is not met a second time
        done.append(result.done)
        cursor = result.cursor
        if cursor is None:
            break
    assert done == [2, 2, 1]


@in_this_process
def test_errors_of_a_filter_are_told_too(
    door: EmbeddedDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What matched when it was read may have changed since."""
    (task_id,) = waiting(door.queue, 1)
    page = door.manager.list_page()
    door.queue.cancel_task(task_id)
    monkeypatch.setattr(door.manager, "list_page", lambda wanted: page)
    result = door.queue.cancel_tasks(filter={})

    assert [(error.id, error.code) for error in result.errors] == [(task_id, "conflict")]
    assert (result.done, result.left) == (0, 0)


# --- what is wrong ------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[QueueAPI], Any], str]] = [
    (lambda queue: queue.cancel_tasks(), "ids"),
    (lambda queue: queue.cancel_tasks([], filter={}), "ids"),
    (lambda queue: queue.cancel_tasks([]), "ids"),
    (lambda queue: queue.cancel_tasks("abc"), "ids"),
    (lambda queue: queue.cancel_tasks(["a"] * 1001), "ids"),
    (lambda queue: queue.cancel_tasks(filter={"colour": "red"}), "colour"),
    (lambda queue: queue.cancel_tasks(filter={"status": ["lost"]}), "status"),
    (lambda queue: queue.cancel_tasks(filter={"status": ["completed"]}), "status"),
    (lambda queue: queue.retry_tasks(filter={"status": ["pending"]}), "status"),
    (lambda queue: queue.delete_tasks(filter={"status": ["running"]}), "status"),
    (lambda queue: queue.delete_tasks(filter={"limit": 5}), "limit"),
    (lambda queue: queue.reprioritize_tasks(filter={"status": ["failed"]}, priority=5), "status"),
    (lambda queue: queue.reprioritize_tasks(["a"], priority=16), "priority"),
    (lambda queue: queue.reprioritize_tasks(["a"], priority="urgent"), "priority"),
]


@pytest.mark.parametrize(("verb", "field"), WRONG)
def test_what_is_wrong_is_named(queue: QueueAPI, verb: Callable[..., Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        verb(queue)

    assert refused.value.field == field


def test_a_whole_slice_is_done(door: Door) -> None:
    door.queue.pause()
    made = door.queue.submit_batch([ask(str(n)) for n in range(600)])
    of_batch = {"batch_id": made.batch_id}

    assert door.queue.cancel_tasks(filter=of_batch).done == 500
    assert door.queue.cancel_tasks(filter=of_batch) == BulkResult(100, [], 0)
    assert door.queue.get_batch(made.batch_id).cancelled == 600
