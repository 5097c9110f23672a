"""Deadlines and start limits: a late task fails once, wherever it is, and never starts."""

from collections import deque
from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RetrySettings
from ollama_queue.actors.core.messages import SubmitBatch
from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.errors import Conflict, Invalid
from ollama_queue.actors.core.model.orders import Change, Insert, Order, Stop
from ollama_queue.actors.core.model.outcomes import Answered, Stopped
from ollama_queue.actors.core.model.tasks import ErrorCode, Record, Status
from ollama_queue.actors.core.plan.deadlines import MOST_AT_ONCE
from ollama_queue.actors.core.plan.plan import Plan
from tests.support.plans import (
    GREETING,
    HTTP_500,
    NOW,
    REFUSED,
    asked,
    at,
    changes,
    ended,
    filled,
    make_plan,
    runs,
)

ANSWER = Answered(b"{}")
LATE = "its deadline, 2023-11-14T22:13:30Z, has passed"  # at(10)
SLOW = "it did not start within 10 s (start_within)"


def expired(orders: list[Order]) -> dict[str, str]:
    """The tasks that expire, and why."""
    return {
        order.task_id: order.fields["error"]
        for order in orders
        if isinstance(order, Change) and order.fields.get("error_code") is ErrorCode.EXPIRED
    }


def stored(orders: list[Order]) -> Record:
    return next(order.record for order in orders if isinstance(order, Insert))


@pytest.mark.parametrize(
    ("limit", "why"), [({"deadline": at(10)}, LATE), ({"start_within": 10}, SLOW)]
)
def test_a_task_that_waits_too_long_fails(limit: dict[str, Any], why: str) -> None:
    plan = filled(GREETING, asked(**limit))

    assert plan.next_due == NOW + 10
    assert plan.wake(NOW + 9.9) == []
    (change,) = plan.wake(NOW + 10)
    assert isinstance(change, Change)
    assert (change.task_id, change.event, change.ended) == ("b", "task_failed", None)
    assert change.fields == {
        "status": Status.FAILED,
        "error": why,
        "error_code": ErrorCode.EXPIRED,
        "completed_at": at(10),
        "next_attempt_at": None,
    }
    assert plan.next_due is None
    assert len(plan.waiting) == 0
    assert runs(plan.finished(0, "a", 1, ANSWER, NOW + 11, 0.5)) == []


@pytest.mark.parametrize("limit", [{"deadline": at(10)}, {"start_within": 10}])
def test_a_late_task_does_not_start_when_a_slot_is_free_at_last(limit: dict[str, Any]) -> None:
    """Though nobody woke the plan in between."""
    plan = filled(GREETING, asked(**limit), GREETING)

    orders = plan.finished(0, "a", 1, ANSWER, NOW + 10, 0.5)

    assert list(expired(orders)) == ["b"]
    assert runs(orders) == ["c"]


def test_the_earlier_limit_counts() -> None:
    plan = filled(
        GREETING,
        asked(deadline=at(10), start_within=20),
        asked(deadline=at(30), start_within=10),
    )

    assert expired(plan.wake(NOW + 10)) == {"b": LATE, "c": SLOW}


def test_a_running_task_is_stopped_and_keeps_its_slot_until_its_call_has_ended() -> None:
    plan = filled(asked(deadline=at(10)), GREETING)

    change, stop = plan.wake(NOW + 10)

    assert isinstance(change, Change)
    assert (change.fields["status"], change.fields["error"]) == (Status.FAILED, LATE)
    assert change.ended == ended(1, 0, 10, LATE)
    assert stop == Stop(0, "a", 1)
    assert (plan.slots.free, list(plan.entries)) == (0, ["b"])
    orders = plan.finished(0, "a", 1, Stopped(), NOW + 11, 0.5)
    assert (changes(orders), runs(orders)) == ([("b", Status.RUNNING)], ["b"])


def test_an_answer_after_the_deadline_is_dropped() -> None:
    plan = filled(asked(deadline=at(10)))
    plan.wake(NOW + 10)

    assert plan.finished(0, "a", 1, ANSWER, NOW + 10.1, 0.5) == []


def test_an_answer_before_anybody_noticed_counts() -> None:
    plan = filled(asked(deadline=at(10)))

    assert changes(plan.finished(0, "a", 1, ANSWER, NOW + 10.1, 0.5)) == [("a", Status.COMPLETED)]


def test_a_worker_that_does_not_stop_is_replaced_and_the_task_stays_as_it_is() -> None:
    plan = filled(asked(deadline=at(10)), GREETING)
    plan.wake(NOW + 10)

    assert changes(plan.wake(NOW + 15)) == [("b", Status.RUNNING)]


def test_a_task_that_has_started_in_time_is_not_held_to_its_start_limit_again() -> None:
    plan = filled(asked(start_within=10))
    assert changes(plan.finished(0, "a", 1, REFUSED, NOW + 1, 0.5)) == [("a", Status.PENDING)]

    assert changes(plan.wake(NOW + 10)) == []
    assert plan.next_due is None
    assert list(plan.entries) == ["a"]


def test_a_start_limit_counts_from_the_scheduled_time() -> None:
    plan = filled(GREETING, asked(scheduled_at=at(100), start_within=10))

    assert expired(plan.wake(NOW + 100)) == {}
    assert expired(plan.wake(NOW + 109)) == {}
    assert expired(plan.wake(NOW + 110)) == {"b": SLOW}


def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    """The failure is the answer, and earlier than the deadline."""
    retry = RetrySettings(initial_delay=20.0, max_delay=20.0)
    plan = filled(asked(deadline=at(10)), retry=retry)

    (change,) = plan.finished(0, "a", 1, HTTP_500, NOW + 1, 0.5)

    assert isinstance(change, Change)
    assert (change.fields["status"], change.fields["error"]) == (Status.FAILED, HTTP_500.error)
    assert change.fields.get("error_code") is None


def test_a_paused_queue_expires_tasks() -> None:
    plan = filled(GREETING, asked(start_within=10))
    plan.pause()

    assert expired(plan.wake(NOW + 10)) == {"b": SLOW}


def test_a_queue_that_stops_still_ends_calls_at_their_deadline() -> None:
    plan = filled(asked(deadline=at(10)))
    plan.drain(60.0, NOW)

    assert plan.next_due == NOW + 10
    assert expired(plan.wake(NOW + 10)) == {"a": LATE}


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_start_limit_lasts_as_long_after_a_change_of_the_clock(step: float) -> None:
    plan = filled(GREETING, asked(start_within=10))

    assert expired(plan.clock_set(step, NOW + step + 9)) == {}
    assert plan.next_due == NOW + step + 10
    assert expired(plan.wake(NOW + step + 10)) == {"b": SLOW}


def test_a_deadline_is_an_instant_whatever_the_clock_does() -> None:
    plan = filled(GREETING, asked(deadline=at(10)))

    assert expired(plan.clock_set(-3600.0, NOW - 3600 + 1)) == {}
    assert plan.next_due == NOW + 10
    assert expired(plan.clock_set(3700.0, NOW + 101)) == {"b": LATE}


def test_what_became_late_while_the_queue_was_down_fails_at_the_boot() -> None:
    plan = make_plan()
    waits = stored(plan.submit("a", asked(start_within=10), NOW))
    runs_on = stored(plan.submit("b", asked(deadline=at(10)), NOW))
    in_time = stored(plan.submit("c", asked(deadline=at(100)), NOW))
    again, cut = make_plan(), entry_of(runs_on)
    cut.attempt = 1

    orders = run_steps(
        again.recover([entry_of(waits), entry_of(in_time)], [cut], [], [], NOW + 20), never_yield
    )

    assert expired(orders) == {"a": SLOW, "b": LATE}
    assert runs(orders) == ["c"]
    assert again.next_due == NOW + 100


def test_many_expire_in_steps_and_nothing_starts_in_between() -> None:
    plan = make_plan()
    count = 2 * MOST_AT_ONCE + 1
    late = [
        stored(make_plan().submit(f"{n:04}", asked(start_within=10), NOW)) for n in range(count)
    ]
    plan.submit("runs", GREETING, NOW)
    plan.enqueue(map(entry_of, late), NOW)
    plan.submit("waits", GREETING, NOW + 1)
    seen: list[int] = []
    now = NOW + 11

    orders = plan.finished(0, "runs", 1, ANSWER, now, 0.5)
    while not runs(orders):
        seen.append(len(expired(orders)))
        assert plan.next_due is not None
        assert plan.next_due <= now
        orders = plan.wake(now)

    seen.append(len(expired(orders)))
    assert seen == [MOST_AT_ONCE, MOST_AT_ONCE, 1]
    assert runs(orders) == ["waits"]


def failed(deadline: float, **facts: Any) -> Record:
    record = stored(make_plan().submit("a", asked(deadline=at(deadline)), NOW))
    late: dict[str, Any] = {"error": LATE, "error_code": ErrorCode.EXPIRED}
    return replace(record, **{"status": Status.FAILED, **late, **facts})


def revived(plan: Plan, record: Record, **more: Any) -> dict[str, Any]:
    change = plan.revive(record, NOW + 20, **more)[0]
    assert isinstance(change, Change)
    return dict(change.fields)


def test_a_retry_by_hand_drops_a_deadline_that_has_passed() -> None:
    fields = revived(make_plan(), failed(10))

    assert (fields["deadline"], fields["error"], fields["error_code"]) == (None, None, None)


def test_a_retry_by_hand_keeps_a_deadline_to_come() -> None:
    plan = make_plan()

    assert revived(plan, failed(30))["deadline"] == at(30)
    assert plan.next_due == NOW + 30


def test_a_returning_client_gives_a_new_deadline() -> None:
    assert revived(make_plan(), failed(10), expires_in=5.0)["deadline"] == at(25)


def test_a_completed_task_is_not_retried_for_its_deadline() -> None:
    with pytest.raises(Conflict):
        make_plan().revive(failed(10, status=Status.COMPLETED), NOW + 20)


def test_a_submit_needs_a_deadline_in_the_future() -> None:
    plan = make_plan()

    with pytest.raises(Invalid, match="deadline must be in the future, 2023-11-14T22:13:20Z has"):
        plan.submit("a", asked(deadline=at(0)), NOW)

    assert not plan.entries


def test_a_batch_names_the_task_whose_deadline_has_passed() -> None:
    batch = SubmitBatch(deque(), 3, 30, earliest=(2, at(-1)))

    with pytest.raises(Invalid, match=r"tasks\[2\].deadline must be in the future") as caught:
        make_plan().submit_batch("b", batch, NOW)
    assert caught.value.field == "tasks[2].deadline"


def test_seconds_may_count_from_the_acceptance() -> None:
    plan = make_plan()
    submit = replace(asked(), expires_in=10.0)

    assert stored(plan.submit("a", submit, NOW)).deadline == at(10)
    assert expired(plan.wake(NOW + 10)) == {"a": LATE}
