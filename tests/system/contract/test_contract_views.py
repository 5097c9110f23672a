"""Lists, counts and pausing, over `QueueManager` and over `Client`."""

from typing import Any

import pytest

from ollama_queue import Invalid, Status, TaskFilter
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import PATIENCE_S, Door, ask


def test_lists_come_newest_first_in_pages(door: Door) -> None:
    door.queue.pause()
    ids = [door.queue.submit_task(ask(str(n), tags=[str(n)])) for n in range(5)][::-1]

    def listed(**wanted: Any) -> list[str]:
        return [task.id for task in door.queue.list_tasks(TaskFilter(**wanted))]

    assert [task.id for task in door.queue.list_tasks()] == ids
    assert listed(limit=2) == ids[:2]
    assert listed(limit=2, offset=3) == ids[3:]
    assert listed(offset=5) == []


def test_lists_are_light(door: Door) -> None:
    door.run(ask("what is " + "x" * 500))
    (task,) = door.queue.list_tasks()

    assert (task.payload, task.options, task.metadata, task.result) == (None, None, None, None)
    assert (task.status, len(task.title)) == (Status.COMPLETED, 120)


def test_lists_by_status(door: Door) -> None:
    done = door.run(ask()).id
    running = door.busy()
    waiting = door.queue.submit_task(ask())
    cancelled = door.queue.submit_task(ask())
    door.queue.cancel_task(cancelled)

    def listed(*status: Status) -> list[str]:
        return [task.id for task in door.queue.list_tasks(TaskFilter(status=list(status)))]

    assert listed(Status.PENDING) == [waiting]
    assert listed(Status.RUNNING) == [running]
    assert listed(Status.COMPLETED, Status.CANCELLED) == [cancelled, done]
    assert listed(Status.FAILED) == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (TaskFilter(limit=0), "limit"),
        (TaskFilter(limit=1001), "limit"),
        (TaskFilter(offset=-1), "offset"),
        (TaskFilter(offset=10_001), "offset"),
    ],
)
def test_a_page_beyond_the_bounds_is_invalid(
    queue: QueueAPI, wanted: TaskFilter, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        queue.list_tasks(wanted)
    assert refused.value.field == field


def test_counts_say_how_the_queue_is_doing(door: Door) -> None:
    door.run(ask())
    door.fake.script(Answer(400, {"error": "no"}))
    door.run(ask())
    door.busy()
    for priority in (1, 5, 7):
        door.queue.submit_task(ask(priority=priority))
    door.queue.cancel_task(door.queue.submit_task(ask()))

    stats = door.queue.get_queue_stats()

    assert (stats.pending_tasks, stats.running_tasks, stats.completed_tasks) == (3, 1, 1)
    assert (stats.failed_tasks, stats.cancelled_tasks, stats.total_tasks) == (1, 1, 7)
    assert stats.queues_by_priority == {"1": 1, "5": 1, "7": 1, "10": 0, "15": 0}
    assert (stats.workers_active, stats.workers_idle) == (1, door.workers - 1)
    assert not stats.paused
    assert stats.waiting_for == {"slot": 3}
    (backend,) = stats.backends
    assert (backend.name, backend.healthy, backend.running, backend.parallel) == (
        "ollama",
        True,
        1,
        1,
    )


def test_a_paused_queue_starts_nothing_and_goes_on_later(door: Door) -> None:
    door.queue.pause()
    task_id = door.queue.submit_task(ask())
    task = door.queue.get_task(task_id)
    assert (task.status, task.waiting_for) == (Status.PENDING, "paused")
    assert door.queue.get_queue_stats().paused
    assert door.fake.calls == []

    door.queue.resume()

    assert door.queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    assert not door.queue.get_queue_stats().paused
