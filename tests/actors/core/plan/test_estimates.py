"""When a task may start: what is told, beside what comes."""

import hypothesis.strategies as st
from hypothesis import given, settings

from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.plan.estimates import MOST_QUEUES
from ollama_queue.actors.core.plan.explain import explain
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import NOW, asked, plan_of
from tests.support.simulation import Simulation, answer

ids = [f"{n:04}" for n in range(400)]


def etas(plan: Plan, now: float = NOW) -> dict[str, float | None]:
    return {each: waiting.eta_s for each, waiting in explain(plan, list(plan.entries), now).items()}


def test_nothing_is_told_where_nothing_is_known() -> None:
    sim = Simulation(plan_of([Gate("a", "openai", 1), Gate("b", "openai", 1)]), answer())
    for task_id in ids[:3]:
        sim.plan.submit(task_id, asked(), NOW)

    assert set(etas(sim.plan).values()) == {None}


def test_a_model_that_was_not_seen_counts_as_the_others_do() -> None:
    plan = plan_of([Gate("a", "openai", 1)])
    plan.submit("first", asked(), NOW)
    plan.finished(0, "first", 1, Answered(b"{}"), NOW + 4, 0.5)
    for task_id in ids[:3]:
        plan.submit(task_id, asked(model="new"), NOW + 4)

    assert etas(plan, NOW + 4) == {"0001": 2.0, "0002": 6.0}


def test_one_behind_a_long_queue_of_another_model_waits_for_that() -> None:
    plan = plan_of([Gate("a", "openai", 1)])
    plan.submit("first", asked(), NOW)
    plan.finished(0, "first", 1, Answered(b"{}"), NOW + 4, 0.5)
    for n, task_id in enumerate(ids[:101]):
        plan.submit(task_id, asked(model="m" if n < 100 else "new"), NOW + 4 + n)

    assert etas(plan)["0100"] == 99 * 4.0 + 2.0


def test_a_backend_that_is_out_does_not_count() -> None:
    plan = plan_of([Gate("a", "openai", 1), Gate("b", "openai", 1)])
    plan.submit("first", asked(), NOW)
    plan.finished(0, "first", 1, Answered(b"{}"), NOW + 4, 0.5)
    plan.drain_backend("b", True, NOW)
    for task_id in ids[:3]:
        plan.submit(task_id, asked(), NOW + 4)

    assert etas(plan, NOW + 4)["0002"] == 6.0


def test_what_only_some_backends_run_waits_for_those() -> None:
    both = frozenset({"m", "n"})
    gates = [Gate("a", "openai", 1, models=both), Gate("b", "openai", 1, models=frozenset({"m"}))]
    sim = Simulation(plan_of(gates, 2), answer(2.0))
    for n, task_id in enumerate(ids[:100]):
        sim.arrive(task_id, asked(model="mmmn"[n % 4]))
    sim.run(until=20.0)
    told = etas(sim.plan, NOW + sim.now)
    sim.run()

    for task_id, eta_s in told.items():
        assert eta_s is not None
        left = sim.started_at[task_id] - 20.0
        assert 0.5 * left - 4.0 <= eta_s <= 2 * left + 4.0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([1, 5, 9])), min_size=5, max_size=120
    ),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_equal_calls_start_within_one_of_what_was_told(
    backlog: list[tuple[str, int]], slots: int, after: int
) -> None:
    sim = Simulation(plan_of([Gate("g", "openai", slots)], slots), answer(2.0))
    for task_id, (model, priority) in zip(ids, backlog, strict=False):
        sim.arrive(task_id, asked(model=model, priority=priority))
    sim.run(until=2.0 * after)
    told = etas(sim.plan, NOW + sim.now)
    seen = sim.now
    sim.run()

    for task_id, eta_s in told.items():
        assert eta_s is not None
        assert abs(sim.started_at[task_id] - seen - eta_s) <= 2.0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 2 * MOST_QUEUES), st.sampled_from([1, 5])),
        min_size=5,
        max_size=200,
    )
)
def test_of_one_route_who_stands_further_back_is_told_no_less(
    backlog: list[tuple[int, int]],
) -> None:
    """However many queues there are, and whatever their calls take."""
    plan = plan_of([Gate("g", "openai", 1)])
    for n, (model, priority) in enumerate(backlog):
        plan.submit(ids[n], asked(model=f"m{model}", priority=priority), NOW + n)
    for seconds in (1.0, 5.0, 2.0):
        for running in plan.slots:
            now = running.started_at + seconds
            plan.finished(0, running.entry.id, 1, Answered(b"{}"), now, 0.5)

    told = explain(plan, list(plan.entries), NOW + 1000)
    by_route: dict[str, list[tuple[int, float]]] = {}
    for task_id, waiting in told.items():
        place = (waiting.position or 0, waiting.eta_s or 0.0)
        by_route.setdefault(plan.entries[task_id].route, []).append(place)
    for places in by_route.values():
        ordered = [eta_s for _, eta_s in sorted(places)]
        assert ordered == sorted(ordered)
