"""What happened in the last hour, over `QueueManager` and over `Client`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ollama_queue import Invalid, Period
from ollama_queue.actors.core.model.event_names import ENDS
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import PATIENCE_S, Door, ask

AT = datetime(2026, 1, 1, tzinfo=UTC)


def happen(door: Door) -> None:
    """One task completes, one fails and one is cancelled; returns once the bus has told of it."""
    events = door.direct.subscribe(ENDS)
    door.queue.submit_task(ask())
    events.get(PATIENCE_S)
    door.fake.script(Answer(400, {"error": "no"}))
    door.queue.submit_task(ask())
    events.get(PATIENCE_S)
    door.queue.pause()
    door.queue.cancel_task(door.queue.submit_task(ask()))
    events.get(PATIENCE_S)


def total(history: list[Period], name: str) -> int:
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


def test_history_is_by_model_tenant_and_tag(door: Door) -> None:
    door.queue.submit_task(ask(tenant="ann", tags=["nightly", "x"]))
    door.queue.submit_task(ask(tenant="bob"))

    def submitted(by: str, **more: str) -> dict[str | None, int]:
        periods = door.queue.get_history("72h", by=by, **more)
        return {each.group: each.submitted for each in periods if each.submitted}

    assert submitted("tenant") == {"ann": 1, "bob": 1}
    assert submitted("tag") == {None: 1, "nightly": 1, "x": 1}
    assert submitted("tag", tenant="ann") == {"nightly": 1, "x": 1}
    assert {each.seconds for each in door.queue.get_history("90d")} == {86400}


def test_usage_counts_tokens_by_tenant(door: Door) -> None:
    ids = [door.queue.submit_task(ask(tenant=tenant)) for tenant in ("ann", "ann", "bob")]
    tasks = [door.queue.wait(task_id, timeout=PATIENCE_S) for task_id in ids]
    usage = door.queue.get_usage(by="tenant")

    assert usage.by == ["tenant"]
    assert {row.tenant: row.completed for row in usage.rows} == {"ann": 2, "bob": 1}
    assert sum(row.tokens for row in usage.rows) == sum(task.tokens for task in tasks)
    assert sum(row.prompt_tokens for row in usage.rows) == sum(t.prompt_tokens for t in tasks)
    assert usage.since < datetime.now(UTC) < usage.until
    an_hour = datetime.now(UTC) - timedelta(hours=1)
    assert len(door.queue.get_usage(since=an_hour, until=datetime.now(UTC)).rows) == 1
    assert door.queue.get_usage(by=["tenant", "model"], tenant="nobody").rows == []


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda queue: queue.get_history("2h"), "span"),
        (lambda queue: queue.get_history(by="title"), "by"),
        (lambda queue: queue.get_history(tenant="x" * 300), "tenant"),
        (lambda queue: queue.get_usage(by="tenant,title"), "by"),
        (lambda queue: queue.get_usage(since="yesterday"), "since"),
        (lambda queue: queue.get_usage(since=AT, until=AT - timedelta(days=1)), "until"),
    ],
)
def test_what_history_does_not_have_is_named(door: Door, call: Any, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        call(door.queue)

    assert raised.value.field == field
