"""Starts waiting tasks: matches free slots, open backends and the next task for them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ..config.config import SchedulerSettings
from ..model.entry import Entry
from ..model.errors import unknown_backend
from ..model.lifecycle import become
from ..model.orders import (
    Announce,
    AssignedCall,
    DropCall,
    KeepModel,
    Order,
    Probe,
    Run,
    SetFlag,
    Warn,
)
from ..model.outcomes import Answered, Failed, Outcome, ProbeResult, Stopped, Verdict
from ..model.tasks import Priority, Status
from ..routing.fallbacks import Candidate
from ..routing.gates import Gate
from ..routing.lanes import Lane
from ..routing.placement import Gates
from ..routing.routes import read_route
from .absent_models import AbsentModels
from .backoff import probe_delay
from .estimates import Durations
from .policies import Policy
from .settle import utc
from .slots import Running, Slots
from .waiting import WaitingRoom

DRAINED = "drained:"  # plus the backend's name: a flag that survives a restart


class Dispatch:
    """Owns the slots, the gates and the waiting room, and matches them."""

    def __init__(self, slots: int, gates: Gates, settings: SchedulerSettings) -> None:
        self.slots, self.gates = Slots(slots), gates
        self.policy = Policy(settings)
        self.durations = Durations()
        self.max_rest_s = settings.max_rest
        self._caps: Mapping[str, int] = {}  # most running calls, by tenant
        self._running: Counter[str] = Counter()  # of those tenants
        self.waiting = WaitingRoom(self.policy.rank, self._lane_of)
        self.absent_models = AbsentModels(self.waiting, gates, settings.model_wait)

    def _lane_of(self, key: str, waited: float) -> Lane:
        return self.gates.lane(read_route(key), waited)

    def cap(self, caps: Mapping[str, int]) -> None:
        """Limit the running calls of these tenants, and of no others."""
        old, self._caps = self._caps, dict(caps)
        tenants = (running.entry.tenant for running in self.slots)
        self._running = Counter(each for each in tenants if each is not None and each in caps)
        for tenant in old.keys() | caps.keys():
            self._hold(tenant)

    def _hold(self, tenant: str) -> None:
        most = self._caps.get(tenant)
        self.waiting.hold(tenant, most is not None and self._running[tenant] >= most)

    def _count(self, tenant: str | None, step: int) -> None:
        """Count a call that begins (1) or ends (-1)."""
        if tenant is not None and tenant in self._caps:
            self._running[tenant] += step
            self._hold(tenant)

    # --- starting -------------------------------------------------------------------------------

    def fill(self, now: float) -> Iterator[Order]:
        """Start every task that can start now."""
        while self.slots.free and (lanes := self._open_lanes(now)):
            entry = self.policy.choose(
                self.waiting, lanes, lambda entry: self._is_warm(entry, now), now
            )
            yield from self._start(entry, now)

    def promote_due(self, now: float) -> Iterator[Order]:
        """Queue tasks that have become due; handle routes whose model no backend has."""
        self.waiting.promote_due(now)
        self.waiting.widen(now)
        for gate in self.gates:
            if gate.resting_until is not None:
                gate.wake(now)
        stuck = self.waiting.newly_stuck()
        if stuck:
            yield from self.absent_models.check(stuck, now)

    def _open_lanes(self, now: float) -> list[Lane]:
        return [lane for lane in self.waiting.offered if lane.is_open(now)]

    def _is_warm(self, entry: Entry, now: float) -> bool:
        gate, candidate = self._placement_of(entry, now)
        return gate.has_loaded(candidate.model, read_route(entry.route).runner)

    def _placement_of(self, entry: Entry, now: float) -> tuple[Gate, Candidate]:
        """The backend that would run an entry of an open lane, and with which model."""
        lane, route, ready = self.waiting.lane(entry), read_route(entry.route), self.waiting.ready
        gate = self.gates.choose(lane, route, entry.avoid, ready, now)
        assert gate is not None, "no backend of an open lane is open"
        return gate, self.gates.candidate(gate, route, lane)

    def _start(self, entry: Entry, now: float) -> Iterator[Order]:
        gate, (model, fallback, *_) = self._placement_of(entry, now)
        runner = read_route(entry.route).runner
        self.waiting.remove(entry)
        entry.due = 0.0
        entry.attempt += 1
        running = self.slots.occupy(entry, gate, model, now)
        running.fallback = fallback
        running.charged = self.policy.begin(entry)
        if self._caps:
            self._count(entry.tenant, 1)
        gate.enter(max(now - entry.queued_at, 0.0))
        if not gate.has_loaded(model, runner):
            gate.load(model, runner, self._models_in(gate))
            running.loads = True
        yield become(
            entry.id,
            Status.PENDING,
            Status.RUNNING,
            attempt=entry.attempt,
            started_at=utc(now),
            next_attempt_at=None,
            executed_on=gate.name,
            fallback=fallback,
        )
        name, without = gate.own_name(model), gate.refuses(model)
        run = Run(
            running.slot,
            entry.id,
            entry.attempt,
            gate.name,
            entry.timeout_s,
            name,
            without,
            fallback,
        )
        yield run if running.server is None else self.slots.assign(running, run)

    def adopt(self, call: AssignedCall, running: dict[str, Entry], now: float) -> Iterator[Order]:
        """Take over a call that another server makes, and its task out of `running`. One whose task
        has ended keeps its slot and its backend until it is stopped."""
        gate = self.gates.get(call.run.backend)
        if gate is None or not self.slots.has(call.server):
            yield DropCall(call.key)
            return
        entry, is_over = running.get(call.run.task_id), False
        if entry is None or entry.attempt != call.run.attempt:
            entry, is_over = _stand_in(call), True
        adopted = self.slots.adopt(entry, gate, call, cancelled=is_over)
        adopted.charged = self.policy.begin(entry)
        if self._caps:
            self._count(entry.tenant, 1)
        gate.enter(max(call.started_at - entry.queued_at, 0.0))
        if is_over:
            yield from self.slots.stop(adopted, now)
        else:
            del running[entry.id]

    def _models_in(self, gate: Gate) -> frozenset[str]:
        return frozenset(running.model for running in self.slots if running.gate is gate)

    # --- facts ----------------------------------------------------------------------------------

    def end(self, running: Running, outcome: Outcome | None, now: float) -> Iterator[Order]:
        """Free the slot of a call that ended; `outcome` is None if its worker died."""
        self.slots.release(running)
        if running.assigned is not None:
            yield DropCall(running.assigned.key)
        if self._caps:
            self._count(running.entry.tenant, -1)
        gate = running.gate
        if isinstance(outcome, Answered):
            self.durations.note(running.model, gate.name, now - running.started_at)
            gate.learn(running.model, outcome.without)
        self.policy.end(running.priority, running.entry.tenant, running.charged, _tokens(outcome))
        rest_s = self._rest(gate, outcome, now) if isinstance(outcome, Failed) else 0.0
        if gate.leave(running.entry.id, outcome):
            yield Probe(gate.name, max(probe_delay(gate.refusals), rest_s))
            yield Announce("backend_changed", gate.name, gate.error)
        elif isinstance(outcome, Failed) and gate.is_suspect:
            yield Probe(gate.name, 0.0)
        elif running.loads and isinstance(outcome, Answered):
            yield Probe(gate.name, 0.0)  # to learn which models were unloaded for it
        elif isinstance(outcome, Failed) and outcome.verdict is Verdict.NO_MODEL:
            gate.lack(running.model)
            yield Probe(gate.name, 0.0)
            yield from self._regroup(now)

    def probed(self, name: str, result: ProbeResult, now: float) -> Iterator[Order]:
        """Take in the result of a backend's probe."""
        gate = self.gates.get(name)
        if gate is None:
            return
        had, lacked, crowded = gate.models, gate.lacking, gate.pins.displacing
        self._rest(gate, result, now)
        if gate.take_probe(result, self._models_in(gate)):
            yield Announce("backend_changed", gate.name, gate.error)
        if (gate.models, gate.lacking, gate.pins.displacing) != (had, lacked, crowded):
            yield from self._regroup(now)
        for model in gate.missing(now):
            yield KeepModel(gate.name, model)
        for model in gate.newly_absent():
            why = f"models.{model}.keep has it keep this model in memory"
            yield Warn(f"backend {name} does not have model {model}: {why}")

    def kept(self, name: str, model: str, error: str | None, now: float) -> None:
        """Take in the end of a load of a pinned model."""
        gate = self.gates.get(name)
        if gate is not None:
            gate.pins.kept(model, failed=error is not None, now=now)

    def _rest(self, gate: Gate, answer: Failed | ProbeResult, now: float) -> float:
        """Rest a backend as long as its Retry-After says, up to `max_rest_s`; returns seconds."""
        seconds = min(self.max_rest_s, answer.retry_after_s or 0.0)
        if seconds:
            gate.rest(seconds, now)
        return seconds

    def _regroup(self, now: float) -> Iterator[Order]:
        """Reassign waiting tasks to backends after a backend's models have changed."""
        self.waiting.regroup()
        yield from self.absent_models.check(self.waiting.newly_stuck(), now)

    def set_drained(self, name: str, value: bool) -> Iterator[Order]:
        """Stop (True) or resume sending calls to a backend. Raises `NotFound`."""
        gate = self.gates.get(name)
        if gate is None:
            raise unknown_backend(name, self.gates.names)
        gate.drained = value
        yield SetFlag(DRAINED + name, value, "backend_changed", name)
        if not value:  # a user's resume overrides Retry-After
            gate.resting_until = None
            yield Probe(name, 0.0)

    def restore_drained(self, flags: Iterable[str]) -> None:
        """Drain the backends that were drained when the queue stopped."""
        for flag in flags:
            gate = self.gates.get(flag.removeprefix(DRAINED))
            if flag.startswith(DRAINED) and gate is not None:
                gate.drained = True

    # --- time -----------------------------------------------------------------------------------

    def clock_set(self, step: float, now: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds."""
        for gate in self.gates:
            gate.pins.clock_set(step)
            if gate.resting_until is not None:
                gate.resting_until += step
        self.policy.clock_set()
        self.waiting.clock_set(step, now)
        self.absent_models.clock_set(step)

    @property
    def next_due(self) -> float | None:
        """When a task may next start or fail because of time alone."""
        due = earlier(self.waiting.next_due, self.absent_models.next_due)
        for gate in self.gates:
            if gate.resting_until is not None:
                due = earlier(due, gate.resting_until)
        return due


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, either of which may be missing."""
    if one is None or (other is not None and other < one):
        return other
    return one


def _tokens(outcome: Outcome | None) -> float | None:
    """The tokens a tenant is charged for a call: 0 if no server accepted it, None if unknown."""
    match outcome:
        case Answered(prompt_tokens=prompt, reply_tokens=reply):
            return max(float(prompt + reply), 1.0)
        case None | Failed(verdict=Verdict.REFUSED | Verdict.NO_MODEL):
            return 0.0
        case Failed() | Stopped():
            return None


def _stand_in(call: AssignedCall) -> Entry:
    """For the task of a call that is to be stopped: the plan has no such task any more."""
    return Entry(
        id=call.run.task_id,
        route="",
        priority=Priority.NORMAL,
        queued_at=call.started_at,
        due=0.0,
        attempt=call.run.attempt,
        retry_count=0,
        max_retries=0,
        interruptions=0,
        size=0,
        timeout_s=None,
        key=None,
    )
