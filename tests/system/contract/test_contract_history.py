"""What happened in the last hour, over `QueueManager` and over `Client`."""

from datetime import UTC, datetime, timedelta

from ollama_queue import Minute
from ollama_queue.actors.core.model.event_names import ENDS
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import PATIENCE_S, Door, ask


def happen(door: Door) -> None:
    """One task completes, one fails and one is cancelled; returns once the bus has told of it."""
    events = door.manager.subscribe(ENDS)
    door.queue.submit_task(ask())
    events.get(PATIENCE_S)
    door.fake.script(Answer(400, {"error": "no"}))
    door.queue.submit_task(ask())
    events.get(PATIENCE_S)
    door.queue.pause()
    door.queue.cancel_task(door.queue.submit_task(ask()))
    events.get(PATIENCE_S)


def total(history: list[Minute], name: str) -> int:
    return sum(getattr(minute, name) for minute in history)


def test_the_history_tells_what_happened(door: Door) -> None:
    before = datetime.now(UTC)
    happen(door)
    history = door.queue.get_history()

    assert total(history, "submitted") == 3
    assert total(history, "started") == 2
    assert [total(history, name) for name in ("completed", "failed", "cancelled")] == [1, 1, 1]
    assert total(history, "throughput") == 3
    assert max(minute.wait_max_s or 0.0 for minute in history) < PATIENCE_S
    assert before - timedelta(minutes=1) < history[0].at <= datetime.now(UTC)


def test_a_new_queue_has_a_history_of_nothing(door: Door) -> None:
    history = door.queue.get_history()

    assert 1 <= len(history) <= 2
    assert total(history, "submitted") == 0
    assert history[0].wait_mean_s is None


def test_the_status_has_throughput_and_what_is_scheduled(door: Door) -> None:
    happen(door)
    door.queue.resume()
    later = datetime.now(UTC) + timedelta(hours=1)
    door.queue.submit_task(ask(scheduled_at=later))
    stats = door.queue.get_queue_stats()

    assert stats.throughput == 0.05
    assert (stats.scheduled, stats.waiting_for) == (1, {"schedule": 1})
    assert stats.oldest_wait_s is None
