"""Deadlines and start limits, through all doors."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ollama_queue import Invalid, Status, Task
from tests.support.fakes.model_server import Hang
from tests.support.harness.doors import PATIENCE_S, Door, ask

SHORT_S = 0.05  # of a start limit
SOON_S = 2.0  # of a deadline, which must not have passed when it arrives


def soon(seconds: float = SOON_S) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def lateness(task: Task) -> tuple[Any, ...]:
    return task.status, task.error_code, task.attempt, task.result


@pytest.fixture
def ended(door: Door) -> Iterator[Any]:
    """The failures that subscribers hear of."""
    with closing(door.queue.subscribe(["task_failed"])) as events:
        yield lambda: events.get(PATIENCE_S).task


def test_a_task_that_waits_past_its_deadline_fails(door: Door, ended: Any) -> None:
    door.busy()
    deadline = soon()

    task = door.run(ask(deadline=deadline))

    assert lateness(task) == (Status.FAILED, "expired", 0, None)
    assert task.error == f"its deadline, {deadline:%Y-%m-%dT%H:%M:%SZ}, has passed"
    assert task.completed_at >= task.deadline
    told = ended()
    assert (told.id, told.error_code, told.error) == (task.id, "expired", task.error)


def test_a_task_that_does_not_start_in_time_fails(door: Door) -> None:
    door.busy()

    task = door.run(ask(start_within=SHORT_S))

    assert lateness(task) == (Status.FAILED, "expired", 0, None)
    assert task.error == "it did not start within 0.05 s (start_within)"


def test_a_call_that_runs_past_the_deadline_is_stopped(door: Door, ended: Any) -> None:
    """And the next task gets its slot when the call has ended."""
    deadline = soon()
    door.fake.script(Hang())
    late = door.queue.submit_task(ask(deadline=deadline))
    next_one = door.queue.submit_task(ask())

    task = door.queue.wait(late, timeout=PATIENCE_S)

    assert lateness(task) == (Status.FAILED, "expired", 1, None)
    (attempt,) = task.attempts
    assert attempt.error == task.error
    assert ended().id == late
    assert door.queue.wait(next_one, timeout=PATIENCE_S).status is Status.COMPLETED
    assert door.queue.get_queue_stats().workers_active == 0


def test_a_task_in_time_is_as_any_other(door: Door) -> None:
    task = door.run(ask(deadline=soon(60), start_within=60))

    assert (task.status, task.error_code) == (Status.COMPLETED, None)


@pytest.mark.parametrize("deadline", ["2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00"])
def test_a_deadline_must_be_in_the_future(door: Door, deadline: str) -> None:
    words = "must be in the future, 2020-01-01T00:00:00Z has passed"

    with pytest.raises(Invalid, match=f"^deadline {words}") as caught:
        door.queue.submit_task(ask(deadline=deadline))
    assert caught.value.field == "deadline"
    with pytest.raises(Invalid, match=rf"^tasks\[1\].deadline {words}") as caught:
        door.queue.submit_batch([ask(deadline=soon(60)), ask(deadline=deadline)])
    assert caught.value.field == "tasks[1].deadline"
    assert door.queue.get_queue_stats().total_tasks == 0


def test_tasks_of_a_batch_have_their_own_deadlines(door: Door) -> None:
    door.busy()
    batch = door.queue.submit_batch([ask(), ask(start_within=SHORT_S), ask(deadline=soon(60))])

    door.queue.wait(batch.task_ids[1], timeout=PATIENCE_S)

    counts = door.queue.get_batch(batch.batch_id)
    assert (counts.pending, counts.failed) == (2, 1)


def test_late_tasks_are_listed_by_their_code_and_counted(door: Door) -> None:
    door.busy()
    late = door.run(ask(start_within=SHORT_S))

    assert [task.id for task in door.queue.list_tasks({"error_code": "expired"})] == [late.id]
    assert sum(minute.expired for minute in door.queue.get_history()) == 1
    with pytest.raises(Invalid, match="error_code must be one of expired"):
        door.queue.list_tasks({"error_code": "late"})


def test_a_retry_by_hand_drops_the_deadline_that_has_passed(door: Door) -> None:
    hanging = door.busy()
    late = door.run(ask(deadline=soon()))

    again = door.queue.retry_task(late.id)

    assert (again.status, again.deadline, again.error_code) == (Status.PENDING, None, None)
    door.queue.cancel_task(hanging)
    assert door.queue.wait(late.id, timeout=PATIENCE_S).status is Status.COMPLETED


def test_a_repeated_submit_may_count_its_deadline_anew(door: Door) -> None:
    door.queue.pause()
    first = door.queue.submit(ask(deadline=soon(60)), idempotency_key="k")
    again = door.queue.submit(ask(deadline=soon(70)), idempotency_key="k")

    assert (again.task_id, again.created) == (first.task_id, False)


def test_a_run_of_a_cron_gives_up_if_it_does_not_start(door: Door) -> None:
    door.busy()
    template = {"type": "generate", "model": "smollm2", "prompt": "hi", "start_within": SHORT_S}
    cron_id = door.queue.add_cron_task(
        {"name": "c", "cron_expr": "@yearly", "task_template": template}
    )

    task = door.queue.wait(door.queue.run_cron_task(cron_id).task_id, timeout=PATIENCE_S)

    assert lateness(task) == (Status.FAILED, "expired", 0, None)
