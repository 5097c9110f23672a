"""Models that no backend has, and backends that fail: what becomes of the tasks."""

from math import inf, nan
from typing import Any

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RetrySettings, SchedulerSettings
from ollama_queue.actors.core.model.orders import Announce, Change, Order, Probe, Run, SetFlag
from ollama_queue.actors.core.model.outcomes import (
    Answered,
    Failed,
    Outcome,
    ProbeResult,
    Stopped,
    Verdict,
)
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe, explain
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import CUT, HTTP_400, HTTP_500, NOW, REFUSED, asked, changes, plan_of, runs

OTHERS = frozenset({"other"})


def plan_without(*names: str, **settings: Any) -> Plan:
    """A plan whose backends list another model than `m`."""
    gates = [Gate(name, "ollama", 1, models=OTHERS) for name in names]
    return plan_of(gates, 2, scheduler=SchedulerSettings(model_wait=60.0), **settings)


def watched(orders: list[Order]) -> list[tuple[str, float]]:
    return [(o.backend, o.delay_s) for o in orders if isinstance(o, Probe)]


class TestMissing:
    def test_all_are_asked_once_more_and_the_task_waits_for_a_backend(self) -> None:
        plan = plan_without("a", "b")

        assert watched(plan.submit("x", asked(), NOW)) == [("a", 0.0), ("b", 0.0)]
        assert watched(plan.submit("y", asked(), NOW + 1)) == []
        assert watched(plan.probed("a", ProbeResult(models=OTHERS), NOW + 2)) == []
        waiting = explain(plan, ["x"], NOW)["x"]
        assert (waiting.waiting_for, waiting.eta_s) == (WaitingFor.BACKEND, None)

    def test_only_those_are_asked_that_may_run_it(self) -> None:
        assert watched(plan_without("a", "b").submit("x", asked(backend="b"), NOW)) == [("b", 0.0)]

    def test_each_fails_after_the_wait_and_not_before(self) -> None:
        plan = plan_without("a", "b")
        plan.submit("x", asked(), NOW)
        plan.submit("y", asked(), NOW + 10)
        plan.submit("z", asked(scheduled_at="2030-01-01T00:00:00Z"), NOW)

        assert plan.next_due == NOW + 60
        assert plan.wake(NOW + 59.9) == []
        (failed,) = plan.wake(NOW + 60)
        assert isinstance(failed, Change)
        assert (failed.task_id, failed.fields["status"]) == ("x", Status.FAILED)
        assert failed.fields["error"] == (
            "no backend has the model m: a, b did not list it within 60 s (scheduler.model_wait)"
        )
        assert changes(plan.wake(plan.next_due or 0.0)) == [("y", Status.FAILED)]
        assert list(plan.entries) == ["z"]

    def test_it_fails_while_the_queue_is_paused_too(self) -> None:
        plan = plan_without("a")
        plan.submit("x", asked(), NOW)
        plan.pause()

        assert changes(plan.wake(NOW + 60)) == [("x", Status.FAILED)]

    def test_a_look_that_lists_it_lets_it_run(self) -> None:
        plan = plan_without("a", "b")
        plan.submit("x", asked(), NOW)

        assert runs(plan.probed("b", ProbeResult(models=OTHERS | {"m"}), NOW + 59)) == ["x"]
        assert plan.next_due is None

    def test_what_is_lost_later_waits_from_then(self) -> None:
        plan = plan_of([Gate("a", "ollama", 1)], scheduler=SchedulerSettings(model_wait=60.0))
        plan.submit("w", asked(), NOW)
        plan.submit("x", asked(), NOW)

        assert watched(plan.probed("a", ProbeResult(models=OTHERS), NOW + 100)) == [("a", 0.0)]
        assert plan.next_due == NOW + 160

    def test_one_that_was_never_looked_at_may_have_it(self) -> None:
        gates = [Gate("a", "ollama", 1, models=OTHERS), Gate("b", "ollama", 1, is_known=False)]
        plan = plan_of(gates, scheduler=SchedulerSettings(model_wait=60.0))

        assert watched(plan.submit("x", asked(), NOW)) == []
        assert changes(plan.wake(NOW + 1000)) == []
        plan.probed("b", ProbeResult(error="connection refused"), NOW + 1000)
        assert changes(plan.wake(NOW + 2000)) == []
        assert runs(plan.probed("b", ProbeResult(models=None), NOW + 3000)) == ["x"]

    def test_until_the_first_look_nobody_knows_that_none_can_take_it(self) -> None:
        unseen = Gate("a", "ollama", 1, is_known=False, is_unseen=True)
        plan = plan_of([unseen])
        reasons = []

        def note() -> None:
            waiting = explain(plan, ["x"], NOW)["x"]
            reasons.append(waiting.waiting_for)
            assert describe(plan, NOW).waiting_for == {waiting.waiting_for: 1}
            assert waiting.eta_s is None

        plan.submit("x", asked(), NOW)
        note()
        plan.drain_backend("a", True, NOW)
        note()
        plan.drain_backend("a", False, NOW)
        plan.probed("a", ProbeResult(error="connection refused"), NOW)
        note()

        assert reasons == [WaitingFor.SLOT, WaitingFor.BACKEND, WaitingFor.BACKEND]

    def test_one_that_has_it_and_is_out_is_waited_for(self) -> None:
        gates = [Gate("a", "ollama", 1, models=OTHERS), Gate("b", "ollama", 1, healthy=False)]
        plan = plan_of(gates, scheduler=SchedulerSettings(model_wait=60.0))
        plan.submit("x", asked(), NOW)

        assert changes(plan.wake(NOW + 1000)) == []

    def test_it_blocks_nothing_behind_it(self) -> None:
        plan = plan_without("a")
        plan.submit("x", asked(priority=15), NOW)

        assert runs(plan.submit("y", asked(model="other"), NOW)) == ["y"]


class TestFailingOver:
    def plan(self) -> Plan:
        gates = [Gate("a", "ollama", 2), Gate("b", "ollama", 2)]
        return plan_of(
            gates, 4, retry=RetrySettings(max_retries=9, initial_delay=1.0, max_delay=1.0)
        )

    def end(
        self, plan: Plan, outcome: Outcome, task_id: str = "x", now: float = NOW
    ) -> list[Order]:
        running = plan.slots.running(task_id)
        assert running is not None
        return plan.finished(running.slot, task_id, running.attempt, outcome, now, 0.0)

    def backends(self, orders: list[Order]) -> list[str]:
        return [order.backend for order in orders if isinstance(order, Run)]

    def test_the_next_attempt_is_on_another_backend(self) -> None:
        plan = self.plan()
        assert self.backends(plan.submit("x", asked(), NOW)) == ["a"]
        self.end(plan, CUT)
        assert self.backends(plan.wake(NOW + 1)) == ["b"]
        self.end(plan, CUT, now=NOW + 1)
        assert self.backends(plan.wake(NOW + 2)) == ["a"]

    def test_or_on_the_same_where_there_is_no_other(self) -> None:
        plan = self.plan()
        plan.drain_backend("b", True, NOW)
        plan.submit("x", asked(), NOW)
        self.end(plan, CUT)

        assert self.backends(plan.wake(NOW + 1)) == ["a"]

    def test_a_refusal_puts_it_out_at_once_and_costs_no_retry(self) -> None:
        plan = self.plan()
        plan.submit("x", asked(), NOW)

        orders = self.end(plan, REFUSED)

        assert watched(orders) == [("a", 1.0)]
        assert Announce("backend_changed", "a", "connection refused") in orders
        assert self.backends(orders) == ["b"]
        assert plan.entries["x"].retry_count == 0

    def test_three_failures_in_a_row_put_it_out_and_a_good_look_brings_it_back(self) -> None:
        plan = self.plan()
        plan.drain_backend("b", True, NOW)
        for n in range(3):
            plan.submit(f"x{n}", asked(), NOW)
            orders = self.end(plan, CUT, f"x{n}")
            assert bool(watched(orders)) == (n == 2)
        assert self.backends(plan.submit("y", asked(), NOW)) == []

        orders = plan.probed("a", ProbeResult(), NOW)

        assert Announce("backend_changed", "a", None) in orders
        assert self.backends(orders) == ["a"]

    def test_an_answer_or_a_fault_of_the_task_ends_the_row(self) -> None:
        for between in (Answered(b"{}"), HTTP_400):
            plan = self.plan()
            plan.drain_backend("b", True, NOW)
            for n, outcome in enumerate([CUT, CUT, between, CUT, CUT]):
                plan.submit(f"x{n}", asked(), NOW)
                assert watched(self.end(plan, outcome, f"x{n}")) in ([], [("a", 0.0)])
            assert plan.gates.get("a").healthy  # type: ignore[union-attr]

    def test_bad_tasks_put_no_server_out(self) -> None:
        plan = self.plan()
        plan.drain_backend("b", True, NOW)
        for n in range(9):
            plan.submit(f"x{n}", asked(), NOW)
            orders = self.end(plan, HTTP_500, f"x{n}")
            assert watched(orders) == ([("a", 0.0)] if n >= 2 else [])
        assert self.backends(plan.submit("y", asked(), NOW)) == ["a"]

        plan.probed("a", ProbeResult(), NOW)  # it is well: the tasks are to blame
        plan.submit("z", asked(), NOW)
        assert watched(self.end(plan, HTTP_500, "z")) == []

    def test_a_call_that_was_stopped_says_nothing_of_it(self) -> None:
        plan = self.plan()
        for n in range(3):
            plan.submit(f"x{n}", asked(backend="a"), NOW)
            self.end(plan, HTTP_500, f"x{n}")
        plan.submit("y", asked(backend="a"), NOW)

        assert watched(self.end(plan, Stopped(), "y")) == []

    def test_but_a_look_that_agrees_with_many_of_them_does(self) -> None:
        plan = self.plan()
        for n in range(3):
            plan.submit(f"x{n}", asked(backend="a"), NOW)
            self.end(plan, HTTP_500, f"x{n}")

        orders = plan.probed("a", ProbeResult(error="timeout"), NOW)

        assert Announce("backend_changed", "a", "timeout") in orders

    def test_one_bad_task_is_no_suspicion_however_often_it_is_tried(self) -> None:
        plan = self.plan()
        plan.drain_backend("b", True, NOW)
        plan.submit("x", asked(), NOW)
        slow = Failed("no answer within timeout_s = 1 s", Verdict.RETRY)
        for n in range(9):
            assert watched(self.end(plan, slow, now=NOW + n)) == []
            plan.wake(NOW + n + 1)
        assert plan.probed("a", ProbeResult(error="timeout"), NOW) == []

    def test_failed_looks_count_too(self) -> None:
        plan = self.plan()
        looks = [plan.probed("a", ProbeResult(error="timeout"), NOW) for _ in range(4)]

        assert [bool(orders) for orders in looks] == [False, False, True, False]

    def test_retry_after_rests_it_five_minutes_at_most(self) -> None:
        for asked_for, rest in ((20.0, 20.0), *((long, 300.0) for long in (9_999.0, inf, nan))):
            plan = self.plan()
            plan.drain_backend("b", True, NOW)
            plan.submit("x", asked(), NOW)
            self.end(plan, Failed("429: slow down", Verdict.RETRY, asked_for))
            assert self.backends(plan.submit("y", asked(), NOW + 1)) == []
            assert explain(plan, ["y"], NOW + 1)["y"].waiting_for is WaitingFor.BACKEND
            assert self.backends(plan.wake(NOW + rest)) == ["a", "a"]

    def test_resuming_wakes_one_that_rests(self) -> None:
        plan = self.plan()
        plan.drain_backend("b", True, NOW)
        plan.submit("x", asked(), NOW)
        self.end(plan, Failed("429: slow down", Verdict.RETRY, 200.0))
        assert self.backends(plan.submit("y", asked(), NOW)) == []

        orders = plan.drain_backend("a", False, NOW)

        assert self.backends(orders) == ["a"]
        assert watched(orders) == [("a", 0.0)]
        assert describe(plan, NOW).backends[0].resting_s is None

    def test_a_backend_stays_drained_over_a_restart(self) -> None:
        plan = self.plan()
        flags = [o for o in plan.drain_backend("a", True, NOW) if isinstance(o, SetFlag)]

        plan = self.plan()
        run_steps(
            plan.recover([], [], [], [flag.name for flag in flags if flag.value], NOW), never_yield
        )

        assert self.backends(plan.submit("x", asked(), NOW)) == ["b"]
        assert self.backends(plan.submit("y", asked(backend="a"), NOW)) == []
        assert self.backends(plan.drain_backend("a", False, NOW)) == ["a"]
