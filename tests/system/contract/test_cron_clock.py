"""Crons by the clock, over `QueueManager` and over `Client`: what runs, what is skipped and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ollama_queue import QueueFull
from ollama_queue.actors.base.actor import tell
from ollama_queue.actors.core.messages import Wake
from ollama_queue.actors.cron_ticker import CronTicker
from ollama_queue.actors.supervision import generation
from tests.support.harness.cron_ticker import TEMPLATE
from tests.support.harness.doors import PATIENCE_S, EmbeddedDoor, in_this_process

pytestmark = in_this_process


class Clock:
    """The ticker's clock, set by hand; far ahead, so that its timer keeps still."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2099, 6, 1, 12, 0, 30, tzinfo=UTC)
        clock = self

        class Ticker(CronTicker):
            def __init__(self, *args: Any, **facts: Any) -> None:
                super().__init__(*args, **facts, clock=lambda: clock.now.timestamp())

        patch.setattr(generation, "CronTicker", Ticker)

    def strike(self, door: EmbeddedDoor, minute: int) -> None:
        """It is 12:MM now; the ticker has seen it, and the scheduler what comes of it."""
        self.now = self.now.replace(minute=minute, second=0)
        tell(door.manager._now().ticker, Wake())
        door.manager.list_cron_tasks()
        door.manager.resume()
        door.manager.list_cron_tasks()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def every_minute(**fields: Any) -> dict[str, Any]:
    return {"name": "m", "cron_expr": "* * * * *", "task_template": TEMPLATE, **fields}


def tasks_of(door: EmbeddedDoor, cron_id: str) -> list[Any]:
    return [task for task in door.queue.list_tasks() if task.cron_id == cron_id]


def test_it_runs_each_minute(clock: Clock, door: EmbeddedDoor) -> None:
    cron_id = door.queue.add_cron_task(every_minute())
    feed = door.manager.subscribe({"cron_fired"})
    for minute in (1, 2, 3):
        clock.strike(door, minute)

    cron = door.queue.get_cron_task(cron_id)
    assert (cron.run_count, cron.next_run) == (3, datetime(2099, 6, 1, 12, 4, tzinfo=UTC))
    tasks = [door.queue.wait(t.id, timeout=PATIENCE_S) for t in tasks_of(door, cron_id)]
    assert sorted(t.metadata["cron_run_count"] for t in tasks) == [1, 2, 3]
    said = [feed.get(PATIENCE_S) for _ in range(3)]
    assert {(e.cron_id, e.task.cron_id if e.task else None) for e in said} == {(cron_id, cron_id)}


def test_a_run_that_may_not_overlap_is_skipped(clock: Clock, door: EmbeddedDoor) -> None:
    cron_id = door.queue.add_cron_task(every_minute(overlap="skip"))
    door.busy()
    feed = door.manager.subscribe({"cron_skipped"})
    for minute in (1, 2):
        clock.strike(door, minute)

    assert len(tasks_of(door, cron_id)) == 1
    event = feed.get(PATIENCE_S)
    assert (event.cron_id, event.task) == (cron_id, None)
    assert event.reason is not None
    assert "may not overlap" in event.reason
    cron = door.queue.get_cron_task(cron_id)
    assert (cron.run_count, cron.next_run) == (1, datetime(2099, 6, 1, 12, 3, tzinfo=UTC))


def test_a_full_queue_skips_a_run_and_the_next_one_is_made(
    clock: Clock, kind: str, tmp_path: Any
) -> None:
    door = EmbeddedDoor(kind, tmp_path, max_queue_size=1)
    try:
        cron_id = door.queue.add_cron_task(every_minute())
        running = door.busy()
        for minute in (1, 2):
            clock.strike(door, minute)
        assert len(tasks_of(door, cron_id)) == 1
        with pytest.raises(QueueFull):
            door.queue.run_cron_task(cron_id)
        door.queue.cancel_task(running)
        door.queue.wait(tasks_of(door, cron_id)[0].id, timeout=PATIENCE_S)
        clock.strike(door, 3)
        assert len(tasks_of(door, cron_id)) == 2
    finally:
        door.close()


@pytest.mark.parametrize(("missed", "count"), [("skip", 0), ("once", 1)])
def test_what_was_due_while_the_queue_was_down(
    clock: Clock, door: EmbeddedDoor, missed: str, count: int
) -> None:
    cron_id = door.queue.add_cron_task(every_minute(missed=missed))
    door.manager.close(grace_s=0)
    clock.now += timedelta(hours=1, seconds=5)
    door.manager.start()
    door.manager.resume()  # behind what the ticker did first

    assert len(tasks_of(door, cron_id)) == count
    assert door.queue.get_cron_task(cron_id).next_run == datetime(2099, 6, 1, 13, 1, tzinfo=UTC)
