"""Tenants with `max_running`: held back, never starved, never in others' way."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_queue.actors.core.access.keys import grant_of
from ollama_queue.actors.core.config.config import SchedulerSettings
from ollama_queue.actors.core.model.access_keys import AccessKey, KeyRules
from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.model.tasks import WaitingFor
from ollama_queue.actors.core.plan.explain import describe
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from tests.support.plans import NOW, asked, at, plan_of

CAPS = {"a": 1, "b": 2}
TENANTS = ["a", "b", "c", None]
STEP = st.one_of(
    st.tuples(
        st.just("submit"), st.sampled_from(TENANTS), st.sampled_from([1, 5]), st.sampled_from("mn")
    ),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("move"), st.integers(0, 99), st.sampled_from([1, 5, 10])),
    st.tuples(st.just("cap"), st.sampled_from(["a", "b", "c"]), st.integers(1, 3)),
    st.tuples(st.just("clock"), st.sampled_from([-3600.0, 3600.0])),
)


def capped(**scheduler: Any) -> Plan:
    grants = [grant_of(name, name.encode(), KeyRules(max_running=n)) for name, n in CAPS.items()]
    gate = Gate("x", "openai", 4)
    return plan_of([gate], 4, grants=grants, scheduler=SchedulerSettings(**scheduler))


def check(plan: Plan) -> None:
    running = Counter(call.entry.tenant for call in plan.slots)
    limits = plan.access.limits
    caps = {tenant: each.max_running for tenant, each in limits.items()}
    waiting = [e for e in plan.entries.values() if plan.slots.running(e.id) is None]
    if plan.slots.free:  # no slot is idle while something may start
        for entry in waiting:
            most = caps.get(entry.tenant or "")
            assert most is not None and running[entry.tenant] >= most, entry
    for tenant in ("a", "b", "c"):
        own = sum(entry.tenant == tenant for entry in waiting)
        assert sum(plan.waiting.of_tenant(tenant).values()) == own
        state = describe(plan, NOW, tenant)
        assert sum(state.waiting_for.values()) == own


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=60), policy=st.sampled_from(["fifo", "fair", "affinity"]))
def test_no_tenant_runs_more_than_its_keys_allow_and_nobody_waits_for_it(
    steps: list[Any], policy: str
) -> None:
    plan = capped(fair=policy == "fair", policy="affinity" if policy == "affinity" else "fifo")
    most, now, clock = dict(CAPS), NOW, 0.0
    for number, (kind, *facts) in enumerate(steps):
        now += 1.0
        live = list(plan.entries)
        before = Counter(call.entry.tenant for call in plan.slots)
        if kind == "submit":
            tenant, level, model = facts
            plan.submit(f"{number:04}", asked(model=model, tenant=tenant, priority=level), now)
        elif kind == "end" and (calls := list(plan.slots)):
            call = calls[facts[0] % len(calls)]
            done = Answered(b"{}")
            plan.finished(call.slot, call.entry.id, call.attempt, done, now, 0.5)
        elif kind == "cancel" and live:
            plan.cancel(live[facts[0] % len(live)], now)
        elif kind == "move" and live:
            plan.reprioritize(live[facts[0] % len(live)], facts[1], now)
        elif kind == "cap":
            tenant, count = facts
            key = AccessKey(
                name=f"{tenant}{number}", tenant=tenant, max_running=count,
                digest=b"%d" % number, hint="", created_at=at(0),
            )  # fmt: skip
            plan.add_key(key, now)
            most[tenant] = min(count, most.get(tenant, count))
        elif kind == "clock":
            now += facts[0]
            clock += facts[0]
            plan.clock_set(facts[0], now)
        running = Counter(call.entry.tenant for call in plan.slots)
        for tenant, count in most.items():  # a smaller limit cuts no running call
            assert running[tenant] <= max(count, before[tenant])
        check(plan)
    while plan.entries or plan.slots:
        for call in list(plan.slots):
            plan.finished(call.slot, call.entry.id, call.attempt, Answered(b"{}"), now, 0.5)
        check(plan)


def test_held_tasks_say_that_they_wait_for_a_slot() -> None:
    plan = capped()
    for number in range(3):
        plan.submit(str(number), asked(tenant="a"), NOW)

    assert len(plan.slots) == 1
    assert plan.waiting.of_tenant("a") == {WaitingFor.SLOT: 2}
