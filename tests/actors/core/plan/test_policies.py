"""What each policy promises, over whole drains, and what it may cost others."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ollama_queue.actors.core.config.config import SchedulerSettings
from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import NOW, asked, plan_of
from tests.support.simulation import Simulation, answer, passed_over_s

CALL_S, LOAD_S = 0.5, 2.0
models = st.lists(st.sampled_from(["red", "green", "blue"]), min_size=1, max_size=40)


def affine(servers: int, max_wait: float, **more: object) -> Plan:
    """A plan with that policy, before servers with memory for one model each."""
    scheduler = SchedulerSettings(policy="affinity", affinity_max_wait=max_wait, **more)  # type: ignore[arg-type]
    gates = [Gate(f"g{n}", "ollama", 1) for n in range(servers)]
    return plan_of(gates, servers, scheduler=scheduler)


def drain(sim: Simulation) -> None:
    """Take on all at once, then run them all."""
    sim.plan.pause()
    sim.run()
    sim.obey(sim.plan.resume(NOW))
    sim.run()


class TestAffinity:
    def test_each_model_is_loaded_once_where_the_bound_allows_for_it(self) -> None:
        sim = Simulation(affine(1, 300.0), answer(CALL_S), LOAD_S)
        for n in range(80):
            sim.arrive(f"{n:03}", asked(model=f"m{n % 4}"))

        drain(sim)

        assert (sim.loads, len(sim.ends)) == (4, 80)

    def test_without_it_each_task_of_another_model_is_a_load(self) -> None:
        sim = Simulation(plan_of([Gate("g", "ollama", 1)]), answer(CALL_S), LOAD_S)
        for n in range(80):
            sim.arrive(f"{n:03}", asked(model=f"m{n % 4}"))

        drain(sim)

        assert sim.loads == 80

    def test_a_backlog_beyond_the_bound_is_run_in_turns(self) -> None:
        sim = Simulation(affine(1, 60.0), answer(CALL_S), LOAD_S)
        for n in range(1000):
            sim.arrive(f"{n:04}", asked(model=f"m{n % 4}"))

        drain(sim)

        assert sim.loads < 1000 / 10

    def test_another_runner_is_not_loaded(self) -> None:
        plan = affine(1, 60.0)
        starts = [asked(options=o) for o in ({"num_ctx": 1}, {"num_ctx": 2}, {"num_ctx": 1})]
        sim = Simulation(plan, answer())
        for task_id, each in zip("abc", starts, strict=True):
            sim.arrive(task_id, each)

        drain(sim)

        assert [start.task_id for start in sim.starts] == ["a", "c", "b"]

    def test_where_it_failed_last_is_no_reason_to_go_first(self) -> None:
        """It would run elsewhere, and load there."""
        sim = Simulation(affine(2, 60.0), answer())
        sim.plan.pause()
        for task_id, model in zip("abc", ["green", "red", "blue"], strict=True):
            sim.arrive(task_id, asked(model=model))
        sim.run()
        sim.plan.entries["b"].avoid = "g0"
        next(iter(sim.plan.gates)).loaded = {"red": ""}

        sim.obey(sim.plan.resume(NOW))

        assert [start.task_id for start in sim.starts] == ["a", "b"]

    @pytest.mark.parametrize("wait", [0.0, 4.0])
    def test_a_lower_level_does_not_use_up_the_patience_of_a_higher_one(self, wait: float) -> None:
        """What was passed over long ago at priority 1 says nothing of new tasks at 10."""
        sim = Simulation(affine(1, 10.0), answer(CALL_S), LOAD_S)
        for n in range(40):
            sim.arrive(f"{n:03}", asked(model=f"m{n % 2}", priority=1))
        for n in range(40, 48):
            sim.arrive(f"{n:03}", asked(model=f"m{n % 2}", priority=10), 13.0 + wait)

        sim.run()

        above = [int(start.task_id) % 2 for start in sim.starts if int(start.task_id) >= 40]
        assert sum(a != b for a, b in pairwise(above)) == 1

    @given(models, st.integers(1, 3), st.sampled_from([0.0, 3.0, 9.0, 100.0]), st.booleans())
    def test_no_task_is_passed_over_beyond_the_bound(
        self, backlog: list[str], servers: int, max_wait: float, at_once: bool
    ) -> None:
        sim = Simulation(affine(servers, max_wait), answer(CALL_S), LOAD_S)
        for n, model in enumerate(backlog):
            sim.arrive(f"{n:03}", asked(model=model), 0.0 if at_once else n / 4)

        sim.run()

        assert len(sim.ends) == len(backlog)
        assert max(passed_over_s(sorted(sim.asked), sim.started_at).values()) <= max_wait

    @given(models, st.lists(st.sampled_from([5, 6, 7]), min_size=40, max_size=40))
    def test_priority_comes_before_it(self, backlog: list[str], levels: list[int]) -> None:
        sim = Simulation(affine(2, 20.0), answer(CALL_S), LOAD_S)
        for n, (model, level) in enumerate(zip(backlog, levels, strict=False)):
            sim.arrive(f"{n:03}", asked(model=model, priority=level))

        drain(sim)

        ran = [sim.asked[start.task_id].new.priority for start in sim.starts]
        assert ran == sorted(ran, reverse=True)


class TestAging:
    AGING_S = 4.0

    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(st.integers(1, 15), st.integers(0, 3)), min_size=1, max_size=60),
        st.sampled_from(["fifo", "affinity"]),
        st.booleans(),
    )
    def test_nothing_overtakes_that_came_too_late(
        self, backlog: list[tuple[int, int]], policy: str, fair: bool
    ) -> None:
        scheduler = SchedulerSettings(policy=policy, aging=self.AGING_S, fair=fair)  # type: ignore[arg-type]
        sim = Simulation(plan_of([Gate("g", "ollama", 1)], scheduler=scheduler), answer(1.0))
        came, at = {}, 0.0
        for n, (level, gap) in enumerate(backlog):
            at += gap / 2
            came[f"{n:03}"] = (level, at)
            tenant = f"t{n % 3}"
            sim.arrive(f"{n:03}", asked(model=f"m{n % 2}", priority=level, tenant=tenant), at)

        sim.run()

        others = policy == "affinity" or fair  # they look a level further
        for task_id, (level, since) in came.items():
            for other, (above, later) in came.items():
                if sim.started_at[other] < sim.started_at[task_id]:
                    assert later - since <= self.AGING_S * (max(above - level, 0) + others)

    def test_a_low_priority_is_not_starved(self) -> None:
        plan = plan_of([Gate("g", "openai", 1)], scheduler=SchedulerSettings(aging=2.0))
        sim = Simulation(plan, answer(1.0))
        sim.arrive("low", asked(priority=1), 0.5)
        for n in range(100):
            sim.arrive(f"{n:03}", asked(priority=15), n * 1.0)

        sim.run()

        assert sim.started_at["low"] <= 0.5 + 14 * 2.0 + 1.0

    def test_all_climb_alike(self) -> None:
        """Two tasks that wait keep their order, however long."""
        rank = plan_of([], scheduler=SchedulerSettings(aging=60.0)).dispatch.policy.rank
        plan = plan_of([Gate("g", "openai", 1)], scheduler=SchedulerSettings(aging=60.0))
        plan.pause()
        plan.submit("a", asked(priority=5), NOW)
        plan.submit("b", asked(priority=6), NOW + 59)
        plan.submit("c", asked(priority=6), NOW + 61)
        assert sorted("abc", key=lambda each: rank(plan.entries[each])) == ["b", "a", "c"]


def test_policies_off_are_priority_and_age() -> None:
    sim = Simulation(plan_of([Gate("g", "ollama", 1)]), lambda _: (1.0, Answered(b"{}")))
    for n in range(12):
        fields = {"model": f"m{n % 2}", "priority": 1 + n % 3, "tenant": f"t{n % 4}"}
        sim.arrive(f"{n:02}", asked(**fields))  # type: ignore[arg-type]

    drain(sim)

    ran = [start.task_id for start in sim.starts]
    assert ran == sorted(ran, key=lambda task_id: (-sim.asked[task_id].new.priority, task_id))
