"""The queue's decisions, one example each: idempotency keys."""

import pytest
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.batch_loading import draft_batch
from ollama_queue.actors.core.intake.submission import generate_task
from ollama_queue.actors.core.messages import SubmitBatch
from ollama_queue.actors.core.model.entry import KeyUse
from ollama_queue.actors.core.model.errors import Conflict, QueueFull
from ollama_queue.actors.core.model.orders import DropKey, Insert
from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.core.plan.acceptance import accept
from ollama_queue.actors.core.plan.plan import Plan
from tests.support.plans import (
    DAY,
    HTTP_400,
    NOW,
    asked,
    filled,
    make_plan,
)


class TestIdempotency:
    def test_the_same_key_and_task_find_it_again(self) -> None:
        first, again = asked(key="k"), asked(key="k")
        plan = make_plan()

        assert plan.find(first, NOW) is None
        (insert, *_) = plan.submit("a", first, NOW)

        assert insert == Insert(accept("a", first, 3, NOW), first.spec, first.body)
        assert plan.find(again, NOW + 1) == "a"
        assert plan.find(asked(key="other"), NOW + 1) is None
        assert plan.find(asked(), NOW + 1) is None
        assert plan.find(asked(key="k", tenant="acme"), NOW + 1) is None

    def test_the_same_key_for_another_task_is_a_conflict(self) -> None:
        plan = filled(asked(key="k"))

        with pytest.raises(Conflict, match="used for another request, a") as caught:
            plan.find(asked("ho", key="k"), NOW)

        assert caught.value.field == "idempotency_key"

    def test_a_key_lives_24_hours(self) -> None:
        plan = filled(asked(key="k"))
        plan.finished(0, "a", 1, Answered(b"{}"), NOW, 0.5)

        assert plan.find(asked(key="k"), NOW + DAY - 1) == "a"
        assert plan.find(asked(key="k"), NOW + DAY) is None

    def test_a_key_lives_as_long_as_its_task(self) -> None:
        assert filled(asked(key="k")).find(asked(key="k"), NOW + 2 * DAY) == "a"

    def test_a_key_that_has_expired_is_dropped_from_disk(self) -> None:
        old = asked(key="old")
        plan = filled(old)
        plan.finished(0, "a", 1, Answered(b"{}"), NOW, 0.5)

        orders = plan.submit("b", asked(key="new"), NOW + DAY)

        assert old.key is not None
        assert [order for order in orders if isinstance(order, DropKey)] == [DropKey(old.key)]

    def test_an_expired_key_that_is_used_again_is_not_dropped(self) -> None:
        """Its row on disk is the new task's: what comes after an Insert must not delete it."""
        plan = filled(asked(key="k"))
        plan.finished(0, "a", 1, Answered(b"{}"), NOW, 0.5)

        orders = plan.submit("b", asked(key="k"), NOW + DAY)

        assert not any(isinstance(order, DropKey) for order in orders)
        assert plan.find(asked(key="k"), NOW + DAY) == "b"

    def test_a_boot_knows_the_keys_of_live_and_of_ended_tasks(self) -> None:
        live, over = asked(key="live"), asked(key="over")
        assert live.key is not None
        assert over.key is not None
        entry = filled(live).entries["a"]
        keys = [(live.key, KeyUse("a", live.body, NOW)), (over.key, KeyUse("z", over.body, NOW))]
        plan = make_plan()

        run_steps(plan.recover([entry], [], keys, [], NOW), never_yield)

        assert (plan.find(live, NOW + DAY), plan.find(over, NOW + DAY)) == ("a", None)
        assert (plan.find(live, NOW + 1), plan.find(over, NOW + 1)) == ("a", "z")


def a_batch(*prompts: str, key: str | None = "k") -> SubmitBatch:
    return draft_batch([generate_task("m", prompt) for prompt in prompts], key)


class TestBatches:
    def test_the_same_key_and_tasks_find_the_batch_again(self) -> None:
        plan = make_plan()
        assert plan.find(a_batch("1", "2"), NOW) is None

        assert plan.submit_batch("B", a_batch("1", "2"), NOW) == []

        assert plan.find(a_batch("1", "2"), NOW + DAY - 1) == "B"
        assert plan.find(a_batch("1", "2"), NOW + DAY) is None
        assert plan.find(a_batch("1", "2", key=None), NOW) is None

    def test_the_same_key_for_another_batch_or_a_task_is_a_conflict(self) -> None:
        plan = make_plan()
        plan.submit_batch("B", a_batch("1", "2"), NOW)

        for other in (a_batch("1", "3"), a_batch("1"), asked("1", key="k")):
            with pytest.raises(Conflict, match="used for another request, B"):
                plan.find(other, NOW)

    def test_one_that_is_refused_leaves_its_key(self) -> None:
        plan = make_plan(max_tasks=1)
        with pytest.raises(QueueFull):
            plan.submit_batch("B", a_batch("1", "2"), NOW)

        assert plan.find(a_batch("1"), NOW) is None

    def test_their_keys_expire_where_nobody_else_has_any(self) -> None:
        plan = make_plan()
        old = a_batch("1", key="old")
        plan.submit_batch("A", old, NOW)

        assert old.key is not None
        assert plan.submit_batch("B", a_batch("1", key="new"), NOW + DAY) == [DropKey(old.key)]
        assert len(plan.keys) == 1


class TestKeyUsedAgain:
    """`a` has ended and its key has expired; the key is `b`'s now, and `b` has ended, too."""

    AGAIN = NOW + DAY

    @pytest.fixture
    def plan(self) -> Plan:
        plan = filled(asked(key="k"))
        plan.finished(0, "a", 1, HTTP_400, NOW, 0.5)
        plan.submit("b", asked(key="k"), self.AGAIN)
        plan.finished(0, "b", 1, HTTP_400, self.AGAIN, 0.5)
        return plan

    @pytest.fixture
    def old(self) -> Record:
        return replace(accept("a", asked(key="k"), 3, NOW), status=Status.FAILED, attempt=1)

    def test_it_outlives_the_task_that_had_it_first(self, plan: Plan, old: Record) -> None:
        plan.delete(old)

        assert plan.find(asked(key="k"), self.AGAIN) == "b"

    def test_it_does_not_live_on_with_the_task_that_had_it_first(
        self, plan: Plan, old: Record
    ) -> None:
        plan.revive(old, self.AGAIN)

        assert plan.find(asked(key="k"), self.AGAIN + DAY) is None

    def test_the_end_of_the_task_that_had_it_first_does_not_end_it(
        self, plan: Plan, old: Record
    ) -> None:
        plan.revive(old, self.AGAIN)
        plan.submit("c", asked(key="k"), self.AGAIN + DAY)
        plan.finished(0, "a", 2, HTTP_400, self.AGAIN + DAY, 0.5)

        assert plan.find(asked(key="k"), self.AGAIN + 3 * DAY) == "c"
