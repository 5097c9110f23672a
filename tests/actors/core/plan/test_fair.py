"""Fair sharing between tenants: by tokens, within a bound, and nobody saves up or starves."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given, settings

from ollama_queue.actors.core.config.config import RetrySettings, SchedulerSettings
from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, Verdict
from ollama_queue.actors.core.plan.policies import FairShares
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import asked, plan_of
from tests.support.simulation import SimulatedCall, Simulation

BIG, SMALL = 700, 7


def by_tenant(tokens: dict[str, int]) -> SimulatedCall:
    """Calls that take a hundredth of a second a token."""

    def answer(asked: Submit) -> tuple[float, Outcome]:
        count = tokens[asked.new.tenant or ""]
        return count / 100, Answered(b"{}", reply_tokens=count)

    return answer


def shared(answer: SimulatedCall, slots: int = 1, **scheduler: object) -> Simulation:
    gates = [Gate("g", "ollama", slots)]
    settings = SchedulerSettings(fair=True, **scheduler)  # type: ignore[arg-type]
    retry = RetrySettings(max_retries=0)
    return Simulation(plan_of(gates, slots, scheduler=settings, retry=retry), answer)


def tenants(sim: Simulation, since: float = 0.0) -> list[str | None]:
    """Whose calls began, from then on."""
    return [sim.asked[start.task_id].new.tenant for start in sim.starts if start.at >= since]


def test_who_has_more_waiting_gets_no_more() -> None:
    sim = shared(by_tenant({"a": 10, "b": 10}))
    for n in range(50):
        sim.arrive(f"a{n:02}", asked(tenant="a"))
    for n in range(5):
        sim.arrive(f"b{n:02}", asked(tenant="b"), 0.01)

    sim.run()

    assert Counter(tenants(sim)[:11])["b"] == 5


def test_it_goes_by_tokens_not_by_tasks() -> None:
    sim = shared(by_tenant({"a": 100, "b": 10}))
    for n in range(100):
        sim.arrive(f"a{n:02}", asked(tenant="a"))
        sim.arrive(f"b{n:02}", asked(tenant="b"))

    sim.run(until=15.0)

    had = Counter(tenants(sim))
    assert 7 <= had["b"] / had["a"] <= 13


def test_servers_that_count_no_tokens_share_by_tasks() -> None:
    sim = shared(lambda _: (1.0, Answered(b"{}")), slots=2)
    for n in range(40):
        sim.arrive(f"a{n:02}", asked(tenant="a"))
        sim.arrive(f"b{n:02}", asked(tenant="b"))

    sim.run(until=15.0)

    assert abs(Counter(tenants(sim))["a"] - Counter(tenants(sim))["b"]) <= 2


@settings(max_examples=25)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, BIG), st.integers(1, BIG)), min_size=20, max_size=60),
    st.booleans(),
    st.sampled_from(["fifo", "affinity"]),
)
def test_two_that_wait_differ_by_a_task_of_each_call_at_most(
    slots: int, sizes: list[tuple[int, int]], lopsided: bool, policy: str
) -> None:
    """Whatever tasks take: of the two, none may have had more for each call than the largest."""
    sizes = [(BIG, SMALL)] * 40 if lopsided else sizes

    def answer(asked: Submit) -> tuple[float, Outcome]:
        n = int(asked.new.payload["prompt"])
        count = sizes[n % len(sizes)][asked.new.tenant == "b"]
        return count / 100, Answered(b"{}", reply_tokens=count)

    sim = shared(answer, slots, policy=policy)
    for n in range(150):
        for tenant in "ab":
            sim.arrive(f"{tenant}{n:03}", asked(str(n), model=f"m{n % 2}", tenant=tenant))

    had: Counter[str | None] = Counter()
    for instant in range(1, 100):
        sim.run(until=float(instant))
        had.clear()
        for task_id in sim.ends:
            outcome = sim.took[task_id]
            assert isinstance(outcome, Answered)
            had[sim.asked[task_id].new.tenant] += outcome.reply_tokens
        waiting = Counter(e.tenant for e in sim.plan.entries.values())
        if min(waiting["a"], waiting["b"]) <= slots:
            break
        assert abs(had["a"] - had["b"]) <= slots * max(BIG, FairShares.FIRST_GUESS)


def test_who_was_away_does_not_catch_up() -> None:
    sim = shared(by_tenant({"a": 10, "b": 10}))
    sim.arrive("b", asked(tenant="b"))
    for n in range(200):
        sim.arrive(f"a{n:03}", asked(tenant="a"))
    for n in range(40):
        sim.arrive(f"b{n:03}", asked(tenant="b"), 10.0)

    sim.run(until=12.0)

    since = Counter(tenants(sim, since=10.05))
    assert abs(since["a"] - since["b"]) <= 1


def test_a_tenant_whose_tasks_fail_does_not_keep_the_others_waiting() -> None:
    def answer(asked: Submit) -> tuple[float, Outcome]:
        if asked.new.tenant == "b":
            return 1.0, Failed("400: no such option", Verdict.FINAL)
        return 1.0, Answered(b"{}", reply_tokens=50)

    sim = shared(answer)
    for n in range(40):
        sim.arrive(f"a{n:02}", asked(tenant="a"))
        sim.arrive(f"b{n:02}", asked(tenant="b"))

    sim.run(until=40.0)

    had = Counter(tenants(sim))
    assert had["a"] >= 15


@given(st.lists(st.sampled_from("abcd"), min_size=10, max_size=80), st.integers(1, 3))
def test_no_tenant_starves(backlog: list[str], slots: int) -> None:
    """With equal tasks, one that waits has its turn before any other has a third."""
    sim = shared(by_tenant(dict.fromkeys("abcd", 256)), slots)
    for n, tenant in enumerate(backlog):
        sim.arrive(f"{n:03}", asked(tenant=tenant))
    sim.plan.pause()
    sim.run()
    sim.obey(sim.plan.resume(0.0))
    sim.run()

    ran = tenants(sim)
    assert len(sim.ends) == len(backlog)
    for tenant in set(backlog):
        before = Counter(ran[: ran.index(tenant)])
        assert all(count <= 1 for count in before.values())


def test_levels_come_first_and_each_has_shares_of_its_own() -> None:
    sim = shared(by_tenant({"a": 10, "b": 10}))
    for n in range(20):
        sim.arrive(f"a{n:02}", asked(tenant="a", priority=10))
        sim.arrive(f"b{n:02}", asked(tenant="b", priority=5))
    for n in range(20, 40):
        sim.arrive(f"a{n:02}", asked(tenant="a", priority=5))

    sim.run()

    ran = tenants(sim)
    assert ran[:20] == ["a"] * 20
    assert abs(Counter(ran[20:40])["a"] - 10) <= 1


def test_with_aging_all_levels_are_shared_as_one() -> None:
    """A tenant gets no second share by asking at another priority."""
    sim = shared(by_tenant({"a": 10, "b": 10}), aging=1000.0)
    for n in range(40):
        sim.arrive(f"a{n:02}", asked(tenant="a", priority=5 + n % 2), -1000.0 * (n % 2 == 0))
        sim.arrive(f"b{n:02}", asked(tenant="b", priority=5), -1000.0)

    sim.run()

    assert abs(Counter(tenants(sim)[:40])["a"] - 20) <= 2
