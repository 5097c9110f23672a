"""The queue's decisions, one example each: what the end of a call means."""

from copy import copy

import pytest
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RetrySettings
from ollama_queue.actors.core.model.orders import Announce, Change, Probe, Replace
from ollama_queue.actors.core.model.outcomes import Answered, Failed, ProbeResult, Verdict
from ollama_queue.actors.core.model.stats import BackendState, PlanState, Unserved, Waiting
from ollama_queue.actors.core.model.tasks import Status, WaitingFor
from ollama_queue.actors.core.plan.explain import describe, explain
from ollama_queue.actors.core.plan.settle import interrupt, settle_attempt, utc
from tests.support.plans import (
    CUT,
    GREETING,
    HTTP_400,
    HTTP_500,
    NOW,
    REFUSED,
    UNSPENT,
    asked,
    at,
    changes,
    ended,
    filled,
    make_plan,
    put_back,
    runs,
    started,
)


class TestFinished:
    def test_an_answer_completes_the_task(self) -> None:
        plan = filled(GREETING)

        assert plan.finished(0, "a", 1, Answered(b'{"x":1}', 5, 7), NOW + 2, 0.5) == [
            Change(
                "a",
                {
                    "status": Status.COMPLETED,
                    "error": None,
                    "prompt_tokens": 5,
                    "tokens": 7,
                    "completed_at": at(2),
                    **UNSPENT,
                },
                "task_completed",
                ended(1, 0, 2),
                b'{"x":1}',
            )
        ]
        assert plan.entries == {}

    def test_a_failed_call_is_retried_with_backoff(self) -> None:
        plan = filled(GREETING, retry=RetrySettings(initial_delay=2.0))

        assert plan.finished(0, "a", 1, CUT, NOW, 0.5) == [
            put_back(
                "a",
                ended(1, 0, 0, CUT.error),
                error=CUT.error,
                avoid="b",
                retry_count=1,
                next_attempt_at=at(1.5),
            )
        ]
        assert explain(plan, ["a"], NOW) == {"a": Waiting(WaitingFor.RETRY, None, 1.5, at(1.5))}
        assert plan.next_due == NOW + 1.5
        assert plan.wake(NOW + 1.5) == started("a", 2, now=1.5)

    def test_a_servers_retry_after_is_honoured(self) -> None:
        plan = filled(GREETING)

        plan.finished(0, "a", 1, Failed("429", Verdict.RETRY, retry_after_s=40.0), NOW, 0.5)

        assert runs(plan.wake(NOW + 39)) == []
        assert explain(plan, ["a"], NOW + 39) == {"a": Waiting(WaitingFor.BACKEND, 0)}
        assert plan.next_due == NOW + 40
        assert plan.wake(NOW + 40) == started("a", 2, now=40)

    def test_a_retry_keeps_its_place(self) -> None:
        plan = filled(GREETING, GREETING)
        plan.finished(0, "a", 1, CUT, NOW, 0.0)
        plan.submit("c", GREETING, NOW)

        assert runs(plan.wake(NOW + 60)) == []
        assert explain(plan, "ac", NOW) == {
            "a": Waiting(WaitingFor.SLOT, 0),
            "c": Waiting(WaitingFor.SLOT, 1),
        }

    @pytest.mark.parametrize("retries", [0, 2])
    def test_the_last_retry_is_the_last(self, retries: int) -> None:
        plan = filled(asked(max_retries=retries))
        for attempt in range(1, retries + 1):
            plan.finished(0, "a", attempt, CUT, NOW, 0.5)
            plan.wake(NOW + 60)

        orders = plan.finished(0, "a", retries + 1, CUT, NOW, 0.5)

        assert changes(orders) == [("a", Status.FAILED)]
        assert plan.entries == {}

    def test_what_would_fail_again_is_not_retried(self) -> None:
        assert filled(GREETING).finished(0, "a", 1, HTTP_400, NOW + 2, 0.5) == [
            Change(
                "a",
                {
                    "status": Status.FAILED,
                    "error": HTTP_400.error,
                    "prompt_tokens": 0,
                    "tokens": 0,
                    "completed_at": at(2),
                    **UNSPENT,
                },
                "task_failed",
                ended(1, 0, 2, HTTP_400.error),
            )
        ]

    def test_a_500_that_repeats_its_words_has_all_its_retries_with_growing_delays(self) -> None:
        plan, now, delays = filled(asked(max_retries=3)), NOW, []
        for attempt in (1, 2, 3):
            (change,) = plan.finished(0, "a", attempt, HTTP_500, now, 1.0)
            assert isinstance(change, Change) and change.fields["status"] is Status.PENDING
            delays.append((change.fields["next_attempt_at"] - utc(now)).total_seconds())
            now += delays[-1]
            assert runs(plan.wake(now)) == ["a"]

        assert changes(plan.finished(0, "a", 4, HTTP_500, now, 1.0)) == [("a", Status.FAILED)]
        assert delays == sorted(delays) and delays[0] < delays[-1]

    def test_an_end_of_another_attempt_is_too_late(self) -> None:
        plan = filled(GREETING, GREETING, slots=2)

        assert plan.finished(0, "a", 2, Answered(b"{}"), NOW, 0.5) == []
        assert plan.finished(1, "a", 1, Answered(b"{}"), NOW, 0.5) == []
        assert plan.finished(5, "a", 1, Answered(b"{}"), NOW, 0.5) == []
        assert len(plan.slots) == 2

    @pytest.mark.parametrize("failed", [CUT, HTTP_400, HTTP_500, REFUSED])
    def test_only_the_plan_changes_what_it_knows_of_a_task(self, failed: Failed) -> None:
        plan = filled(GREETING)
        running, entry = plan.slots.in_slot(0), copy(plan.entries["a"])
        assert running is not None

        _, left = settle_attempt(running, failed, RetrySettings(), NOW, 0.5)
        interrupt(running.entry, "it crashed", None, NOW)

        assert (plan.entries["a"], running.entry) == (entry, entry)
        assert left.avoid == "b"


class TestBackend:
    def test_a_refused_task_returns_to_its_place_and_the_backend_is_watched(self) -> None:
        plan = filled(GREETING, GREETING)

        assert plan.finished(0, "a", 1, REFUSED, NOW, 0.5) == [
            put_back("a", ended(1, 0, 0, REFUSED.error), error=REFUSED.error, avoid="b"),
            Probe("b", 1.0),
            Announce("backend_changed", "b", REFUSED.error),
        ]
        assert explain(plan, "ab", NOW) == {
            "a": Waiting(WaitingFor.BACKEND, 0),
            "b": Waiting(WaitingFor.BACKEND, 1),
        }
        state = BackendState(
            name="b",
            type="openai",
            healthy=False,
            running=0,
            parallel=1,
            error="connection refused",
            calls=1,
            failures=1,
            wait_s=0.0,
        )
        unserved = [Unserved("m", 2, "b is away")]
        assert describe(plan, NOW) == PlanState(
            0, 1, False, {"backend": 2}, [state], NOW, unserved=unserved
        )
        assert plan.probed("b", ProbeResult(), NOW + 1) == [
            Announce("backend_changed", "b"),
            *started("a", 2, now=1),
        ]

    def test_calls_that_are_refused_together_are_one_watch(self) -> None:
        plan = filled(GREETING, GREETING, slots=2)
        plan.finished(0, "a", 1, REFUSED, NOW, 0.5)

        orders = plan.finished(1, "b", 1, REFUSED, NOW, 0.5)

        assert changes(orders) == [("b", Status.PENDING)]
        assert not any(isinstance(order, Probe) for order in orders)

    def test_refusals_in_a_row_are_probed_ever_later(self) -> None:
        plan = filled(GREETING)
        delays = []
        for attempt in range(1, 8):
            orders = plan.finished(0, "a", attempt, REFUSED, NOW, 0.5)
            delays += [order.delay_s for order in orders if isinstance(order, Probe)]
            plan.probed("b", ProbeResult(), NOW)

        assert delays == [1, 2, 4, 8, 16, 30, 30]
        plan.finished(0, "a", 8, CUT, NOW, 0.0)
        plan.wake(NOW + 60)
        assert Probe("b", 1.0) in plan.finished(0, "a", 9, REFUSED, NOW, 0.5)


class TestInterruption:
    def test_a_lost_worker_is_replaced_and_its_task_runs_again(self) -> None:
        plan = filled(GREETING)

        assert plan.lost(0, "boom", NOW + 1) == [
            Replace(0),
            put_back("a", ended(1, 0, 1, "boom"), error="boom", interruptions=1),
            *started("a", 2, now=1),
        ]

    def test_an_idle_worker_is_only_replaced(self) -> None:
        assert make_plan().lost(0, "boom", NOW) == [Replace(0)]

    def test_the_fourth_fails_the_task(self) -> None:
        plan = filled(asked(max_retries=0))
        for _ in range(3):
            plan.lost(0, "boom", NOW)

        assert plan.lost(0, "boom", NOW + 9) == [
            Replace(0),
            Change(
                "a",
                {
                    "status": Status.FAILED,
                    "error": "interrupted 4 times, the last time because boom",
                    "prompt_tokens": 0,
                    "tokens": 0,
                    "completed_at": at(9),
                    "retry_count": 0,
                    "interruptions": 4,
                },
                "task_failed",
                ended(4, 0, 9, "boom"),
            ),
        ]
        assert plan.entries == {}

    def test_a_crash_of_the_queue_is_one_too(self) -> None:
        old = filled(GREETING, GREETING)
        running, waiting = old.entries["a"], old.entries["b"]
        plan = make_plan()

        why = "the queue crashed while it ran"
        assert run_steps(plan.recover([waiting], [running], [], [], NOW + 1), never_yield) == [
            replace(put_back("a", None, error=why, interruptions=1), cut=why),
            *started("a", 2, now=1),
        ]

    def test_a_boot_takes_up_what_was_paused(self) -> None:
        old = filled(GREETING)
        plan = make_plan()

        run_steps(plan.recover(old.entries.values(), [], [], ["paused"], NOW), never_yield)

        assert explain(plan, "a", NOW) == {"a": Waiting(WaitingFor.PAUSED, 0)}
