"""The wall clock is set: what is due goes by it, what lasts a while does not notice."""

import pytest

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.model.entry import Entry
from ollama_queue.actors.core.model.orders import Change
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Verdict
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe, explain
from ollama_queue.actors.core.plan.idempotency import KEEP_S
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import CUT, DAY, GREETING, NOW, asked, at, filled, make_plan, plan_of, runs

HOUR = 3600.0
STEPS = [-365 * DAY, -2 * HOUR, 2 * HOUR, 30 * DAY]


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_waits_as_long_as_it_would_have(step: float) -> None:
    plan = filled(GREETING)
    plan.finished(0, "a", 1, CUT, NOW, 1.0)

    assert runs(plan.clock_set(step, NOW + step + 0.5)) == []

    waiting = explain(plan, ["a"], NOW + step + 0.5)["a"]
    assert (waiting.waiting_for, waiting.eta_s) == (WaitingFor.RETRY, 0.5)
    assert waiting.next_attempt_at == at(step + 1.0)
    assert plan.next_due == NOW + step + 1.0
    assert runs(plan.wake(NOW + step + 1.0)) == ["a"]


@pytest.mark.parametrize("step", STEPS)
def test_a_rest_is_as_long_as_it_would_have_been(step: float) -> None:
    plan = filled(GREETING)
    plan.finished(0, "a", 1, Failed("429", Verdict.RETRY, retry_after_s=40.0), NOW, 0.0)

    assert runs(plan.clock_set(step, NOW + step)) == []

    assert describe(plan, NOW + step).backends[0].resting_s == 40.0
    assert runs(plan.wake(NOW + step + 39)) == []
    assert runs(plan.wake(NOW + step + 40)) == ["a"]


def test_what_is_for_an_instant_runs_when_the_clock_shows_it() -> None:
    plan = make_plan()
    plan.submit("a", asked(scheduled_at=at(HOUR)), NOW)

    assert runs(plan.clock_set(2 * HOUR, NOW + 2 * HOUR)) == ["a"]


def test_a_clock_that_is_put_back_makes_what_was_due_wait_again() -> None:
    plan = filled(GREETING, asked(scheduled_at=at(HOUR)), asked(scheduled_at=at(-HOUR)))
    plan.wake(NOW + HOUR)
    assert explain(plan, "b", NOW + HOUR)["b"].waiting_for is WaitingFor.SLOT

    plan.clock_set(-HOUR, NOW)

    assert explain(plan, "b", NOW)["b"].waiting_for is WaitingFor.SCHEDULE
    assert explain(plan, "c", NOW)["c"].waiting_for is WaitingFor.SLOT
    assert runs(plan.finished(0, "a", 1, Answered(b"{}"), NOW + 1, 0.5)) == ["c"]
    assert runs(plan.finished(0, "c", 1, Answered(b"{}"), NOW + 2, 0.5)) == []
    assert runs(plan.wake(NOW + HOUR)) == ["b"]


@pytest.mark.parametrize("step", STEPS)
def test_the_order_and_the_waits_stay(step: float) -> None:
    plan = make_plan()
    for number, task_id in enumerate("abc"):
        plan.submit(task_id, GREETING, NOW + number)
    plan.clock_set(step, NOW + step + 10)
    plan.submit("d", GREETING, NOW + step + 11)

    state = describe(plan, NOW + step + 11)
    assert state.oldest == NOW + step + 1
    order = []
    for task_id in "abcd":
        order += runs(plan.finished(0, task_id, 1, Answered(b"{}"), NOW + step + 12, 0.5))
    assert order == ["b", "c", "d"]
    assert describe(plan, NOW + step + 12).backends[0].wait_s == pytest.approx((11 + 10 + 1) / 4)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["finished", "cancelled", "lost"])
def test_nothing_ends_before_it_began(step: float, how: str) -> None:
    plan = filled(GREETING)
    plan.clock_set(step, NOW + step + 2)
    now = NOW + step + 3
    match how:
        case "finished":
            orders = plan.finished(0, "a", 1, Answered(b"{}"), now, 0.5)
        case "cancelled":
            orders = plan.cancel("a", now)
        case _:
            orders = plan.lost(0, "boom", now)

    change = next(order for order in orders if isinstance(order, Change))
    assert change.fields["started_at"] == at(step)
    if change.ended is not None:
        assert (change.ended.started_at, change.ended.ended_at) == (at(step), at(step + 3))


@pytest.mark.parametrize("step", STEPS)
def test_a_task_that_is_tried_again_keeps_its_place(step: float) -> None:
    plan = filled(GREETING, GREETING)
    plan.clock_set(step, NOW + step + 1)
    plan.submit("c", GREETING, NOW + step + 2)

    plan.lost(0, "boom", NOW + step + 3)

    assert plan.slots.running("a") is not None


def test_a_worker_that_is_to_stop_has_its_time() -> None:
    plan = filled(GREETING)
    plan.cancel("a", NOW)

    plan.clock_set(DAY, NOW + DAY + 1)

    assert plan.wake(NOW + DAY + 4) == []
    assert plan.next_due == NOW + DAY + 5


def test_a_grace_is_as_long_as_it_would_have_been() -> None:
    plan = filled(GREETING)
    plan.drain(30.0, NOW)

    assert plan.clock_set(-DAY, NOW - DAY + 10) == []

    assert plan.next_due == NOW - DAY + 30


def test_a_model_that_none_has_is_waited_for_as_long() -> None:
    gates = [Gate("b", "ollama", 1, models=frozenset({"other"}))]
    plan = plan_of(gates)
    plan.submit("a", GREETING, NOW)

    plan.clock_set(DAY, NOW + DAY + 1)
    assert set(plan.entries) == {"a"}

    plan.wake(NOW + DAY + 600)
    assert plan.entries == {}


def test_a_key_lives_as_long_as_it_would_have() -> None:
    plan = make_plan()
    with_key = asked(key="red")
    plan.submit("a", with_key, NOW)
    plan.finished(0, "a", 1, Answered(b"{}"), NOW + 1, 0.5)

    plan.clock_set(30 * DAY, NOW + 30 * DAY + 2)

    assert plan.find(with_key, NOW + 30 * DAY + 2) == "a"
    assert plan.find(with_key, NOW + 30 * DAY + KEEP_S) is None


class TestRecovering:
    """What lies on disk was written by a clock that was ahead."""

    def entry(self, task_id: str, queued: float, **facts: object) -> Entry:
        plain = {"route": "m", "priority": 5, "due": 0.0, "attempt": 0, "retry_count": 0}
        plain |= {"max_retries": 3, "interruptions": 0, "size": 1, "timeout_s": None}
        plain |= {"key": None, **facts}
        return Entry(id=task_id, queued_at=NOW + queued, **plain)  # type: ignore[arg-type]

    def order(self, *entries: Entry) -> list[str]:
        plan = make_plan()
        found = runs(run_steps(plan.recover(entries, [], [], [], NOW), never_yield))
        for task_id in [each.id for each in entries]:
            running = plan.slots.in_slot(0)
            if running is not None:
                task_id = running.entry.id
                found += runs(plan.finished(0, task_id, 1, Answered(b"{}"), NOW + 1, 0.5))
        return found

    def test_a_retry_waits_no_longer_than_there_is_to(self) -> None:
        plan = make_plan()
        entry = self.entry("a", -1.0, attempt=1, retry_count=2, due=NOW + 365 * DAY)

        run_steps(plan.recover([entry], [], [], [], NOW), never_yield)

        assert plan.next_due == NOW + 2.0

    def test_those_of_a_wrong_clock_keep_their_place(self) -> None:
        ahead = [self.entry(task_id, 365 * DAY + n) for n, task_id in enumerate("bcd")]
        assert self.order(self.entry("a", -90.0), *ahead, self.entry("e", -9.0)) == list("abcde")

    def test_and_have_not_waited_for_less_than_nothing(self) -> None:
        plan = make_plan(slots=0, parallel=1)
        run_steps(
            plan.recover([self.entry("a", DAY), self.entry("b", 2 * DAY)], [], [], [], NOW),
            never_yield,
        )

        assert describe(plan, NOW + 3).oldest == NOW

    def test_what_was_asked_for_at_a_later_time_is_not_among_them(self) -> None:
        later = self.entry("a", HOUR, due=NOW + HOUR)
        plan = make_plan()

        assert runs(run_steps(plan.recover([later], [], [], [], NOW), never_yield)) == []
        assert plan.next_due == NOW + HOUR
        assert explain(plan, "a", NOW)["a"].waiting_for is WaitingFor.SCHEDULE


def test_an_end_is_an_end() -> None:
    plan = filled(GREETING)
    plan.clock_set(-DAY, NOW - DAY)

    orders = plan.finished(0, "a", 1, Answered(b"{}"), NOW - DAY, 0.5)

    assert [o.fields["status"] for o in orders if isinstance(o, Change)] == [Status.COMPLETED]
