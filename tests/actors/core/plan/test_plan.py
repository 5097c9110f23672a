"""The queue's decisions, one example each: what is asked of it, and in which order tasks run."""

import pytest

from ollama_queue.actors.core.model.errors import QueueFull, Unavailable
from ollama_queue.actors.core.model.orders import Change, Insert, Replace, SetFlag, Stop
from ollama_queue.actors.core.model.outcomes import Answered, Stopped
from ollama_queue.actors.core.model.stats import BackendState, PlanState, Waiting
from ollama_queue.actors.core.model.tasks import Record, Status, TaskType, WaitingFor
from ollama_queue.actors.core.plan.acceptance import accept
from ollama_queue.actors.core.plan.explain import describe, explain
from tests.support.plans import (
    GREETING,
    NOW,
    asked,
    at,
    ended,
    filled,
    make_plan,
    put_back,
    runs,
    started,
)


class TestSubmit:
    def test_a_submitted_task_is_saved_before_it_runs(self) -> None:
        assert make_plan().submit("a", GREETING, NOW) == [
            Insert(
                Record(
                    id="a",
                    type=TaskType.GENERATE,
                    model="m",
                    priority=5,
                    title="hi",
                    created_at=at(0),
                    queued_at=at(0),
                    max_retries=3,
                    route="m",
                    size=len(GREETING.spec),
                ),
                GREETING.spec,
            ),
            *started("a"),
        ]

    def test_a_task_beyond_the_slots_waits(self) -> None:
        plan = filled(GREETING)

        assert plan.submit("b", GREETING, NOW) == [
            Insert(accept("b", GREETING, 3, NOW), GREETING.spec)
        ]
        assert explain(plan, ["a", "b", "unknown"], NOW) == {"b": Waiting(WaitingFor.SLOT, 0)}

    def test_a_backend_gets_no_more_calls_than_it_takes_at_once(self) -> None:
        plan = make_plan(slots=3, parallel=1)

        assert runs(plan.submit("a", GREETING, NOW)) == ["a"]
        assert runs(plan.submit("b", GREETING, NOW)) == []
        assert describe(plan, NOW) == PlanState(
            1,
            2,
            False,
            {"slot": 1},
            [
                BackendState(
                    name="b", type="openai", healthy=True, running=1, parallel=1, wait_s=0.0
                )
            ],
            oldest=NOW,
        )

    def test_the_first_come_runs_first(self) -> None:
        plan = filled(GREETING, asked(model="n"), GREETING, asked(model="n"))

        order = [runs(plan.finished(0, t, 1, Answered(b"{}"), NOW, 0.5)) for t in "abc"]

        assert order == [["b"], ["c"], ["d"]]

    def test_a_higher_priority_runs_first_whatever_the_model(self) -> None:
        plan = filled(
            GREETING, asked(priority=5), asked(model="n", priority=10), asked(priority=15)
        )

        order = [runs(plan.finished(0, t, 1, Answered(b"{}"), NOW, 0.5)) for t in "adc"]

        assert order == [["d"], ["c"], ["b"]]

    def test_a_full_queue_takes_no_more_tasks(self) -> None:
        plan = make_plan(max_tasks=1)
        plan.submit("a", GREETING, NOW)
        plan.submit("b", GREETING, NOW)

        with pytest.raises(
            QueueFull, match=r"at most 1 tasks may wait \(queue.max_queue_size\)"
        ) as caught:
            plan.submit("c", GREETING, NOW)

        assert caught.value.retry_after_s == 5
        assert list(plan.entries) == ["a", "b"]

    def test_a_full_queue_takes_no_more_bytes(self) -> None:
        size = len(GREETING.spec)
        plan = make_plan(max_bytes=2 * size)
        for task_id in "abc":  # one runs, two wait
            plan.submit(task_id, GREETING, NOW)

        with pytest.raises(
            QueueFull, match=rf"{2 * size} bytes may wait \(queue.max_queue_bytes\)"
        ):
            plan.submit("d", GREETING, NOW)

        plan.cancel("b", NOW)
        plan.submit("d", GREETING, NOW)
        assert list(plan.entries) == ["a", "c", "d"]


class TestScheduled:
    def test_it_waits_for_its_time_and_then_runs(self) -> None:
        plan = make_plan()
        later = asked(scheduled_at=at(60).isoformat())

        (insert,) = plan.submit("a", later, NOW)

        assert isinstance(insert, Insert)
        assert (insert.record.scheduled_at, insert.record.queued_at) == (at(60), at(60))
        assert explain(plan, ["a"], NOW) == {"a": Waiting(WaitingFor.SCHEDULE, None, 60.0)}
        assert describe(plan, NOW).waiting_for == {"schedule": 1}
        assert plan.next_due == NOW + 60
        assert plan.wake(NOW + 59) == []
        assert plan.wake(NOW + 60) == started("a", now=60)
        assert plan.next_due is None

    def test_it_queues_behind_those_that_were_due_before(self) -> None:
        plan = filled(GREETING, asked(scheduled_at=at(60).isoformat()))
        plan.submit("c", GREETING, NOW + 30)
        plan.submit("d", GREETING, NOW + 90)

        places = explain(plan, "bcd", NOW)

        assert [places[task_id].position for task_id in "bcd"] == [1, 0, 2]

    def test_a_time_that_is_past_is_now(self) -> None:
        assert runs(make_plan().submit("a", asked(scheduled_at=at(-60).isoformat()), NOW)) == ["a"]


class TestCancel:
    CANCELLED = Change(
        "a",
        {"status": Status.CANCELLED, "completed_at": at(1), "next_attempt_at": None},
        "task_cancelled",
    )

    def test_a_waiting_task_is_gone_at_once(self) -> None:
        plan = make_plan()
        plan.pause()
        plan.submit("a", GREETING, NOW)

        assert plan.cancel("a", NOW + 1) == [self.CANCELLED]
        assert runs(plan.resume(NOW + 1)) == []
        assert (plan.entries, plan.waiting.bytes, len(plan.waiting)) == ({}, 0, 0)

    def test_a_running_one_keeps_its_slot_until_its_call_has_ended(self) -> None:
        plan = filled(GREETING, GREETING)

        assert plan.cancel("a", NOW + 1) == [self.CANCELLED, Stop(0, "a", 1)]
        assert plan.next_due == NOW + 6
        assert describe(plan, NOW).backends[0].running == 1
        assert plan.finished(0, "a", 1, Answered(b"{}"), NOW + 2, 0.5) == started("b", now=2)

    def test_a_worker_that_does_not_stop_is_replaced(self) -> None:
        plan = filled(GREETING, GREETING)
        plan.cancel("a", NOW)

        assert plan.wake(NOW + 4) == []
        assert plan.wake(NOW + 5) == [Replace(0), *started("b", now=5)]


class TestReprioritize:
    def test_a_waiting_task_moves_to_its_age_in_the_new_level(self) -> None:
        plan = filled(GREETING, GREETING, asked(priority=10))

        assert plan.reprioritize("b", 10, NOW) == [
            Change("b", {"priority": 10}, "priority_updated")
        ]
        assert explain(plan, "bc", NOW) == {
            "b": Waiting(WaitingFor.SLOT, 0),
            "c": Waiting(WaitingFor.SLOT, 1),
        }

    def test_a_running_one_has_it_when_it_comes_back(self) -> None:
        plan = filled(GREETING, asked(priority=10))
        plan.reprioritize("a", 15, NOW)

        assert runs(plan.finished(0, "a", 1, Stopped(), NOW, 0.5)) == ["a"]


class TestPause:
    def test_nothing_starts_until_it_is_resumed(self) -> None:
        plan = make_plan()

        assert plan.pause() == [SetFlag("paused", True, "queue_paused")]
        assert runs(plan.submit("a", GREETING, NOW)) == []
        assert explain(plan, "a", NOW) == {"a": Waiting(WaitingFor.PAUSED, 0)}
        assert plan.resume(NOW) == [SetFlag("paused", False, "queue_resumed"), *started("a")]


class TestDrain:
    def test_it_takes_and_starts_nothing_and_stops_what_runs_in_the_end(self) -> None:
        plan = filled(GREETING, GREETING)

        assert plan.drain(30.0, NOW) == []
        with pytest.raises(Unavailable, match="the queue is shutting down"):
            plan.submit("c", GREETING, NOW)
        assert (plan.next_due, plan.is_drained) == (NOW + 30, False)
        assert plan.wake(NOW + 30) == [Stop(0, "a", 1)]
        assert plan.next_due == NOW + 35
        assert plan.finished(0, "a", 1, Stopped(), NOW + 31, 0.5) == [
            put_back("a", ended(1, 0, 31, "stopped by the queue"))
        ]
        assert plan.is_drained
        assert plan.next_due is None

    def test_a_call_that_does_not_stop_is_no_interruption(self) -> None:
        plan = filled(GREETING)
        plan.drain(0.0, NOW)

        assert plan.wake(NOW + 5) == [
            Replace(0),
            put_back("a", ended(1, 0, 5, "its worker did not stop in time")),
        ]
        assert plan.is_drained
