"""Whatever happens, a fallback takes a task only when it may, and no slot idles meanwhile."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import ModelSettings, RemoteScheduling, RetrySettings
from ollama_queue.actors.core.model.entry import Entry, entry_of
from ollama_queue.actors.core.model.orders import Change, Insert, Order, Run
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, ProbeResult, Verdict
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.core.routing.routes import read_route
from tests.support.plans import NOW, asked, plan_of

MODELS = ("big", "small", "tiny")
NEVER = 1e9  # unlike infinity, sooner than a remote backend's
AFTER = {"big": 10.0, "small": 30.0, "tiny": NEVER}
SETTINGS = {
    "big": ModelSettings(fallback=["small", "tiny"], after=10.0),
    "tiny": ModelSettings(after=None),
}
OVERFLOW = 5.0
served = st.sets(st.sampled_from(MODELS), max_size=3).map(frozenset)
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Answered(b"{}"),
        *(Failed("no", verdict) for verdict in Verdict),
        Failed("busy", Verdict.RETRY, retry_after_s=20.0),
    ]
)


class FallbackMachine(RuleBasedStateMachine):
    """Calls the plan as the scheduler does, and knows the rules in another form."""

    @initialize(first=served, second=served, far=served, slots=st.integers(1, 4))
    def boot(
        self, first: frozenset[str], second: frozenset[str], far: frozenset[str], slots: int
    ) -> None:
        self.now, self.serial, self.slots = NOW, 0, slots
        self.models = {"g1": first, "g2": second, "far": far}
        self.records: dict[str, Record] = {}
        self.start()

    def start(self) -> None:
        self.since = self.now
        self.calls: dict[str, Run] = {}
        gates = [
            Gate(name, "ollama", 1, models=models, remote=name == "far")
            for name, models in self.models.items()
        ]
        self.plan: Plan = plan_of(
            gates,
            self.slots,
            rules=RemoteScheduling(after=OVERFLOW),
            models=SETTINGS,
            retry=RetrySettings(max_retries=1, initial_delay=1.0, max_delay=2.0),
        )

    # --- the rules, in another form -------------------------------------------------------------

    def opens(self, entry: Entry, gate: Gate) -> dict[str, float]:
        """For each of the task's models that a backend has, after how long a wait it is open."""
        record, route = self.records[entry.id], read_route(entry.route)
        own = SETTINGS.get(record.model, ModelSettings()).fallback
        names = own if record.fallback_models is None else record.fallback_models
        left = [name for name in (record.model, *names) if name not in route.given_up]
        step = AFTER[record.model]
        waits = {name: place * step if place else 0.0 for place, name in enumerate(left)}
        extra = OVERFLOW if gate.remote else 0.0
        return {name: wait + extra for name, wait in waits.items() if gate.serves(name)}

    def has_waited(self, entry: Entry, seconds: float) -> bool:
        return self.now - max(entry.queued_at, self.since) + 1e-3 >= seconds

    def before(self, entry: Entry, seconds: float) -> list[Gate]:
        """The backends that are open to the task after a shorter wait."""
        return [
            gate
            for gate in self.plan.gates
            if any(wait < seconds for wait in self.opens(entry, gate).values())
        ]

    def may_run(self, entry: Entry, gate: Gate) -> bool:
        least = min(self.opens(entry, gate).values(), default=None)
        if least is None:
            return False
        return self.has_waited(entry, least) or not any(g.is_in for g in self.before(entry, least))

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Insert(record):
                    self.records[record.id] = record
                case Change(task_id, fields):
                    self.records[task_id] = replace(self.records[task_id], **fields)
                case Run(task_id=task_id):
                    assert task_id not in self.calls
                    self.calls[task_id] = order
                    record, gate = self.records[task_id], self.plan.gates.get(order.backend)
                    assert gate is not None
                    used = order.fallback or record.model
                    assert record.model_used == used
                    assert gate.serves(used)
                    entry = self.plan.entries[task_id]
                    wait = self.opens(entry, gate)[used]
                    assert self.has_waited(entry, wait) or not any(
                        other.is_in and not other.is_resting(self.now)
                        for other in self.before(entry, wait)
                    )
                case _:
                    pass

    # --- what happens ---------------------------------------------------------------------------

    @rule(
        model=st.sampled_from(MODELS),
        fallbacks=st.none() | st.permutations(MODELS).map(lambda names: names[:1]),
        priority=st.sampled_from([1, 5]),
    )
    def submit(self, model: str, fallbacks: list[str] | None, priority: int) -> None:
        if fallbacks == [model]:
            fallbacks = []
        self.serial += 1
        new = asked(model=model, fallback_models=fallbacks, priority=priority)
        self.obey(self.plan.submit(f"{self.serial:06}", new, self.now))

    @precondition(lambda self: self.calls)
    @rule(outcome=outcomes, which=st.integers(0, 9))
    def end(self, outcome: Outcome, which: int) -> None:
        task_id = sorted(self.calls)[which % len(self.calls)]
        run = self.calls.pop(task_id)
        self.obey(self.plan.finished(run.slot, task_id, run.attempt, outcome, self.now, 0.5))

    @rule(name=st.sampled_from(["g1", "g2", "far"]), models=served, is_well=st.booleans())
    def probe(self, name: str, models: frozenset[str], is_well: bool) -> None:
        result = ProbeResult(models=models) if is_well else ProbeResult(error="away")
        self.models[name] = models if is_well else self.models[name]
        self.obey(self.plan.probed(name, result, self.now))

    @rule(name=st.sampled_from(["g1", "g2", "far"]), value=st.booleans())
    def drain(self, name: str, value: bool) -> None:
        self.obey(self.plan.drain_backend(name, value, self.now))

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.obey(self.plan.wake(self.now))

    @rule(step=st.sampled_from([-100.0, 100.0]))
    def set_clock(self, step: float) -> None:
        self.now += step
        self.since += step
        self.obey(self.plan.clock_set(step, self.now))

    @rule()
    def pause_for_a_while(self) -> None:
        self.obey(self.plan.pause())
        self.now += 20.0
        self.obey(self.plan.wake(self.now))
        self.since = self.now
        self.obey(self.plan.resume(self.now))

    @rule()
    def crash(self) -> None:
        self.start()
        live = [record for record in self.records.values() if not record.status.is_final]
        waiting = [entry_of(record) for record in live if record.status is Status.PENDING]
        running = [entry_of(record) for record in live if record.status is Status.RUNNING]
        self.obey(run_steps(self.plan.recover(waiting, running, [], [], self.now), never_yield))

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def no_slot_idles_while_a_task_may_run(self) -> None:
        if not self.plan.slots.free:
            return
        for entry in self.waiting():
            for gate in self.plan.gates:
                assert not (gate.is_open(self.now) and self.may_run(entry, gate)), (entry, gate)

    def waiting(self) -> list[Entry]:
        live = self.plan.entries.values()
        return [entry for entry in live if entry.id not in self.calls and entry.due <= 0]

    @invariant()
    def none_is_lost(self) -> None:
        live = {record.id for record in self.records.values() if not record.status.is_final}
        assert live == set(self.plan.entries)
        sizes = [sum(self.plan.waiting.sizes(lane).values()) for lane in self.plan.waiting.lanes]
        assert sum(sizes) == len(self.waiting())
        assert all(sizes)


def test_a_fallback_takes_a_task_when_it_may_and_not_before() -> None:
    run_state_machine_as_test(
        FallbackMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
