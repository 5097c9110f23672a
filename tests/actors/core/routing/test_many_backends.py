"""Whatever happens to several backends: who runs where, and that nothing waits without a reason."""

from typing import Any

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

from ollama_queue.actors.core.config.config import (
    RemoteScheduling,
    RetrySettings,
    SchedulerSettings,
)
from ollama_queue.actors.core.model.orders import Change, KeepModel, Order, Run
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, ProbeResult, Verdict
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.core.routing.gates import Gate
from ollama_queue.actors.core.routing.pins import Pins
from tests.support.plans import NOW, REFUSED, asked, plan_of
from tests.support.strategies import failures

NAMES = ("near", "fast", "far")
PARALLEL = {"near": 1, "fast": 2, "far": 2}
TAGS = {"near": frozenset[str](), "fast": frozenset({"x"}), "far": frozenset({"x"})}
MODELS = "abc"
PINNED = "a"  # on near
WAIT_S = 60.0
names = st.sampled_from(NAMES)
lists = st.none() | st.frozensets(st.sampled_from(MODELS))
wishes = st.sampled_from(
    [{}, {}, {"backend": "near"}, {"backend": "tag:x"}, {"remote_execution": True}]
)


class Machine(RuleBasedStateMachine):
    """Obeys a plan, and knows by itself what each backend may be asked."""

    @initialize(
        slots=st.integers(1, 6),
        fallback=st.booleans(),
        policy=st.sampled_from(["fifo", "affinity"]),
    )
    def boot(self, slots: int, fallback: bool, policy: str) -> None:
        self.fallback, self.slots, self.fifo = fallback, slots, policy == "fifo"
        gates = [
            Gate(
                name=name,
                type="ollama",
                parallel=PARALLEL[name],
                remote=name == "far",
                tags=TAGS[name],
                is_known=False,
                is_unseen=True,
                pins=Pins([PINNED] if name == "near" else []),
            )
            for name in NAMES
        ]
        self.plan = plan_of(
            gates,
            slots,
            rules=RemoteScheduling(fallback_to_local=fallback),
            scheduler=SchedulerSettings(policy=policy, model_wait=WAIT_S),  # type: ignore[arg-type]
            retry=RetrySettings(max_retries=1, initial_delay=4.0),
        )
        self.gates = {gate.name: gate for gate in gates}
        self.now, self.count = NOW, 0
        self.wants: dict[str, tuple[str, dict[str, Any]]] = {}
        self.waiting: set[str] = set()
        self.calls: dict[int, Run] = {}
        self.ended: set[str] = set()
        self.lists: dict[str, frozenset[str] | None] = {}
        self.looked_at: set[str] = set()
        self.drained: set[str] = set()
        self.paused, self.is_loading = False, False

    # --- what should be -------------------------------------------------------------------------

    def inside(self, name: str) -> int:
        return sum(run.backend == name for run in self.calls.values())

    def is_in(self, name: str) -> bool:
        return name in self.lists and name not in self.drained and self.gates[name].healthy

    def is_open(self, name: str) -> bool:
        rests = (self.gates[name].resting_until or 0.0) > self.now
        return self.is_in(name) and not rests and self.inside(name) < PARALLEL[name]

    def may_run(self, task_id: str, name: str) -> bool:
        """As things are, full or not."""
        model, wish = self.wants[task_id]
        if not self.serves(name, model):
            return False
        if wish.get("remote_execution") and name != "far":
            return self.fallback and not (self.serves("far", model) and self.is_in("far"))
        return self.is_allowed(task_id, name) and not self.must_keep_off(task_id, name)

    def is_allowed(self, task_id: str, name: str) -> bool:
        backend = self.wants[task_id][1].get("backend", name)
        return backend == name or (backend == "tag:x" and name != "near")

    def must_keep_off(self, task_id: str, name: str) -> bool:
        """Its model would displace a pinned one, and another backend can be waited for."""
        model, wish = self.wants[task_id]
        if model not in self.gates[name].pins.displacing or wish.get("remote_execution"):
            return False
        others = [each for each in NAMES if each != name and self.is_allowed(task_id, each)]
        return any(
            self.serves(each, model) and (self.is_in(each) or each not in self.looked_at)
            for each in others
        )

    def serves(self, name: str, model: str) -> bool:
        found = self.lists.get(name)
        return found is None or model in found

    def has_place(self, task_id: str) -> bool:
        """A backend can take it, and all that may run it were looked at once."""
        able = {name for name in NAMES if self.may_run(task_id, name)}
        return able <= self.looked_at and any(map(self.is_open, able))

    def could_start(self) -> list[str]:
        """The tasks that could begin now, the first first."""
        ready = [
            self.plan.entries[task_id]
            for task_id in self.waiting
            if self.plan.entries[task_id].due <= self.now and self.has_place(task_id)
        ]
        ready.sort(key=lambda entry: (-entry.priority, entry.queued_at, entry.id))
        return [entry.id for entry in ready]

    # --- obeying --------------------------------------------------------------------------------

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Run(slot, task_id, _, backend):
                    assert not self.paused
                    assert slot not in self.calls
                    assert self.is_open(backend)
                    assert self.may_run(task_id, backend)
                    could = self.could_start()
                    first = self.plan.entries[could[0]]
                    assert not self.fifo or task_id == first.id
                    assert self.plan.entries[task_id].priority == first.priority
                    self.waiting.remove(task_id)
                    self.calls[slot] = order
                case Change(task_id, {"status": status}):
                    assert task_id not in self.ended, "a task ends once"
                    if Status(status).is_final:
                        self.ended.add(task_id)
                        self.waiting.discard(task_id)
                    elif status is Status.PENDING:
                        self.waiting.add(task_id)
                case KeepModel(backend, model):
                    assert (backend, model) == ("near", PINNED)
                    assert self.is_in("near") and self.serves("near", PINNED)
                    assert not self.is_loading
                    self.is_loading = True

    # --- what happens ---------------------------------------------------------------------------

    @rule(model=st.sampled_from(MODELS), wish=wishes, priority=st.sampled_from([1, 5, 5]))
    def submit(self, model: str, wish: dict[str, Any], priority: int) -> None:
        self.count += 1
        task_id = f"{self.count:03}"
        self.wants[task_id] = (model, wish)
        self.waiting.add(task_id)
        new = asked(model=model, priority=priority, **wish)
        orders = self.plan.submit(task_id, new, self.now)
        self.obey(orders)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=failures | st.just(Answered(b"{}")))
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        run = self.calls.pop(data.draw(st.sampled_from(sorted(self.calls))))
        gate = self.gates[run.backend]
        cuts, was_in = gate.failures_in_a_row, gate.healthy
        orders = self.plan.finished(run.slot, run.task_id, run.attempt, outcome, self.now, 0.5)
        goes_out = isinstance(outcome, Failed) and (
            outcome.verdict is Verdict.REFUSED or (outcome.verdict is Verdict.CUT and cuts >= 2)
        )
        assert gate.healthy == (was_in and not goes_out)
        self.obey(orders)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.waiting)))
        self.obey(self.plan.cancel(task_id, self.now))
        assert task_id in self.ended

    @rule(
        name=names,
        found=lists,
        loaded=st.sampled_from([frozenset("a"), frozenset("b"), frozenset("ab")]),
    )
    def look(self, name: str, found: frozenset[str] | None, loaded: frozenset[str]) -> None:
        self.lists[name] = found
        self.looked_at.add(name)
        orders = self.plan.probed(name, ProbeResult(models=found, loaded=loaded), self.now)
        assert self.gates[name].healthy
        assert PINNED not in self.gates[name].pins.displacing
        self.obey(orders)

    @precondition(lambda self: self.is_loading)
    @rule(error=st.none() | st.just("no memory"))
    def the_pinned_model_is_loaded(self, error: str | None) -> None:
        self.is_loading = False
        self.plan.model_kept("near", PINNED, error, self.now)

    @rule(name=names)
    def look_in_vain(self, name: str) -> None:
        self.looked_at.add(name)
        self.obey(self.plan.probed(name, ProbeResult(error=REFUSED.error), self.now))

    @rule(name=names, value=st.booleans())
    def drain_backend(self, name: str, value: bool) -> None:
        (self.drained.add if value else self.drained.discard)(name)
        self.obey(self.plan.drain_backend(name, value, self.now))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.obey(self.plan.pause() if paused else self.plan.resume(self.now))

    @rule(span=st.sampled_from([0.5, 5.0, 60.0]))
    def let_time_pass(self, span: float) -> None:
        self.now += span
        self.obey(self.plan.wake(self.now))

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def no_slot_idles_while_something_could_run(self) -> None:
        assert self.paused or len(self.calls) == self.slots or not self.could_start()

    @invariant()
    def nothing_is_lost(self) -> None:
        running = {run.task_id for run in self.calls.values()}
        assert self.plan.entries.keys() == self.waiting | running
        assert self.wants.keys() == self.waiting | running | self.ended

    @invariant()
    def it_is_known_who_is_inside(self) -> None:
        for name in NAMES:
            assert self.gates[name].running == self.inside(name) <= PARALLEL[name]


def test_many_backends_keep_their_word_whatever_happens() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
