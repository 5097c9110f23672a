"""Drives a plan with commands and facts in random order, and carries out its orders."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.config.config import RetrySettings
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.model.errors import Conflict, QueueFull, Unavailable
from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.orders import (
    Announce,
    Change,
    DropKey,
    Insert,
    Order,
    Probe,
    Replace,
    Run,
    SetFlag,
    Stop,
)
from ollama_queue.actors.core.model.outcomes import Failed, Outcome, ProbeResult
from ollama_queue.actors.core.model.tasks import ErrorCode, Status
from ollama_queue.actors.core.plan.backoff import delay
from ollama_queue.actors.core.plan.explain import describe
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.plan.slots import STOP_PATIENCE_S
from tests.support.model_disk import ModelDisk, ModelFailures, is_late, settled
from tests.support.plans import DAY, NOW, REFUSED, at, make_plan
from tests.support.strategies import backlogs, failures, outcomes, priorities, spans

MAX_TASKS, MAX_BYTES = 7, 1200
RETRY = RetrySettings(max_retries=2, initial_delay=1.0, max_delay=4.0, backoff_factor=2.0)
KEYS = ("red", "green", "blue")


class PlanDriver(RuleBasedStateMachine):
    """Calls the plan as the scheduler does; acts as its disk, workers and prober."""

    @initialize(slots=st.integers(1, 4), parallel=st.integers(1, 4), backlog=backlogs)
    def boot(self, slots: int, parallel: int, backlog: list[tuple[str, int]]) -> None:
        self.slots, self.parallel = slots, parallel
        self.disk = ModelDisk()
        self.accepted: set[str] = set()
        self.over: list[Run] = []  # calls that have ended
        self.start_limits: set[float] = set()  # by when tasks had to start, at some time
        self.now, self.last_us = NOW, 0
        self.start()
        self.submit_many(backlog)

    def start(self) -> None:
        """Make a new plan, as at a boot."""
        limits = {"max_tasks": MAX_TASKS, "max_bytes": MAX_BYTES}
        self.plan: Plan = make_plan(self.slots, self.parallel, RETRY, **limits)
        (self.gate,) = self.plan.gates
        self.calls: dict[int, Run] = {}
        self.stop_by: dict[int, float] = {}
        self.drain_by: float | None = None
        self.is_watched = False
        self.failures = ModelFailures()
        self.heard = self.now  # the latest instant passed to the plan

    # --- obeying --------------------------------------------------------------------------------

    def obey(self, orders: list[Order], now: float | None = None) -> None:
        now = self.now if now is None else now
        self.heard = max(self.heard, now)
        for order in orders:
            match order:
                case Change(task_id, {"status": Status.RUNNING}):
                    first = self.disk.ripe(self.heard)[0]
                    assert first.id == task_id, "another task should run first"
                    assert not is_late(first, self.heard), "it is too late to start it"
                    self.disk.save(order)
                case Change(task_id, {"error_code": ErrorCode.EXPIRED}):
                    assert is_late(self.disk.records[task_id], self.heard)
                    self.disk.save(order)
                case Insert() | Change() | SetFlag() | DropKey():
                    self.disk.save(order)
                case Run(slot, task_id, attempt):
                    record = self.disk.records[task_id]
                    assert (record.status, record.attempt) == (Status.RUNNING, attempt)
                    assert slot not in self.calls
                    assert task_id not in [run.task_id for run in self.calls.values()]
                    assert self.drain_by is None
                    assert not self.disk.paused
                    self.calls[slot] = order
                case Stop(slot, task_id, attempt):
                    run = self.calls[slot]
                    assert (run.task_id, run.attempt) == (task_id, attempt)
                    assert slot not in self.stop_by, "one Stop a call"
                    self.stop_by[slot] = now + STOP_PATIENCE_S
                case Replace(slot):
                    self.end_call(slot)
                case Probe(_, delay_s):
                    assert delay_s >= 1 or self.failures.is_suspect
                    self.is_watched = True
                case _:
                    pass

    def end_call(self, slot: int) -> None:
        self.stop_by.pop(slot, None)
        if slot in self.calls:
            self.over.append(self.calls.pop(slot))

    def having(self, *statuses: Status) -> list[str]:
        return [record.id for status in statuses for record in self.disk.having(status)]

    # --- commands -------------------------------------------------------------------------------

    @rule(
        model=st.sampled_from("abc"),
        prompt=st.sampled_from(["x", "y" * 300]),
        priority=priorities,
        later=st.sampled_from([None, None, None, -60.0, 1.0, 60.0]),
        key=st.sampled_from([None, None, *KEYS]),
        fields=st.sampled_from([{}, {"max_retries": 0}, {"timeout_s": 9.5}]),
        lasts=st.sampled_from([None, None, 0.5, 3.0, 90.0]),
        start_within=st.sampled_from([None, None, 2.0, 70.0]),
    )
    def submit(
        self,
        model: str,
        prompt: str,
        priority: int,
        later: float | None,
        key: str | None,
        fields: dict[str, Any],
        lasts: float | None = None,
        start_within: float | None = None,
    ) -> None:
        due = None if later is None else at(self.now - NOW + later)
        if lasts is not None:
            deadline = at(self.now - NOW + max(later or 0.0, 0.0) + lasts)
            fields = {**fields, "deadline": deadline}
        if start_within is not None:
            fields = {**fields, "start_within": start_within}
        new = generate_task(model, prompt, priority=priority, scheduled_at=due, **fields)
        submit = draft(new, key)
        us = max(int(self.now * 1e6), self.last_us + 1)
        now = us / 1e6 if us / 1e6 < self.now + 1 else self.now
        known = None if submit.key is None else self.disk.find(submit.key, now)
        if known is None:
            assert self.plan.find(submit, now) is None
        elif known.body != submit.body:
            with pytest.raises(Conflict):
                self.plan.find(submit, now)
            return
        else:
            assert self.plan.find(submit, now) == known.task_id
            return
        task_id = mint(us, 0)
        size = self.disk.waiting_bytes() + len(submit.spec)
        if self.drain_by is not None:
            with pytest.raises(Unavailable):
                self.plan.submit(task_id, submit, now)
        elif len(self.having(Status.PENDING)) >= MAX_TASKS or size > MAX_BYTES:
            with pytest.raises(QueueFull):
                self.plan.submit(task_id, submit, now)
        else:
            self.last_us = us
            self.accepted.add(task_id)
            self.obey(self.plan.submit(task_id, submit, now), now)

    @precondition(lambda self: self.drain_by is None and len(self.plan.waiting) < 4)
    @rule(backlog=backlogs)
    def submit_many(self, backlog: list[tuple[str, int]]) -> None:
        for model, priority in backlog:
            self.submit(model, "x", priority, None, None, {})

    @precondition(lambda self: self.having(Status.PENDING))
    @rule(data=st.data())
    def cancel_waiting(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(self.having(Status.PENDING)))
        self.obey(self.plan.cancel(task_id, self.now))
        assert self.disk.records[task_id].status is Status.CANCELLED

    @precondition(lambda self: self.having(Status.RUNNING))
    @rule(data=st.data())
    def cancel_running(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(self.having(Status.RUNNING)))
        self.obey(self.plan.cancel(task_id, self.now))
        assert self.disk.records[task_id].status is Status.CANCELLED
        assert task_id in [self.calls[slot].task_id for slot in self.stop_by]

    @precondition(lambda self: self.plan.entries)
    @rule(data=st.data(), priority=priorities)
    def reprioritize(self, data: st.DataObject, priority: int) -> None:
        task_id = data.draw(st.sampled_from(self.having(Status.PENDING, Status.RUNNING)))
        self.obey(self.plan.reprioritize(task_id, priority, self.now))
        assert self.disk.records[task_id].priority == priority

    @precondition(lambda self: self.calls and not self.disk.paused)
    @rule()
    def pause(self) -> None:
        self.obey(self.plan.pause(), self.heard)  # starts nothing, so it needs no clock
        assert self.disk.paused

    @precondition(lambda self: self.disk.paused)
    @rule()
    def resume(self) -> None:
        self.obey(self.plan.resume(self.now))
        assert not self.disk.paused

    @precondition(lambda self: self.drain_by is None and self.calls)
    @rule(grace_s=st.sampled_from([0.0, 4.0]))
    def drain(self, grace_s: float) -> None:
        self.drain_by = self.now + grace_s
        self.obey(self.plan.drain(grace_s, self.now))
        if grace_s == 0:
            assert self.stop_by.keys() == self.calls.keys()

    # --- facts ----------------------------------------------------------------------------------

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=outcomes)
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        run = self.calls[data.draw(st.sampled_from(sorted(self.calls)))]
        self.hear_end(run, outcome, 0.5)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), failure=failures, chance=st.sampled_from([0.0, 1.0]))
    def fail(self, data: st.DataObject, failure: Failed, chance: float) -> None:
        run = self.calls[data.draw(st.sampled_from(sorted(self.calls)))]
        self.hear_end(run, failure, chance)

    @precondition(lambda self: len(self.calls) > 1)
    @rule()
    def refuse_all(self) -> None:
        """Fail all running calls, as when their backend goes down."""
        for run in list(self.calls.values()):
            self.hear_end(run, REFUSED, 0.5)

    def hear_end(self, run: Run, outcome: Outcome, chance: float) -> None:
        was, healthy = self.disk.records[run.task_id], self.gate.healthy
        self.end_call(run.slot)
        goes_out = self.failures.put_out(run.task_id, outcome) and healthy
        looks = goes_out or (self.failures.is_suspect and isinstance(outcome, Failed))
        orders = self.plan.finished(run.slot, run.task_id, run.attempt, outcome, self.now, chance)
        assert looks >= any(isinstance(order, Probe) for order in orders) >= goes_out
        assert sum(isinstance(order, Announce) for order in orders) == goes_out
        changes = [o for o in orders if isinstance(o, Change) and o.task_id == run.task_id]
        if was.status.is_final:  # cancelled, or expired
            assert changes == []
        else:
            fields: dict[str, Any] = {"retry_count": was.retry_count}
            fields |= changes[0].fields
            again = self.now + delay(RETRY, was.retry_count + 1, chance)
            assert (fields["status"], fields["retry_count"]) == settled(was, outcome, again)
        self.obey(orders)

    @precondition(lambda self: self.over or self.calls)
    @rule(data=st.data(), outcome=outcomes, ahead=st.integers(-1, 1), aside=st.booleans())
    def hear_stale_fact(
        self, data: st.DataObject, outcome: Outcome, ahead: int, aside: bool
    ) -> None:
        run = data.draw(st.sampled_from([*self.over, *self.calls.values()]))
        slot, attempt = (run.slot + aside) % self.slots, run.attempt + ahead
        if self.calls.get(slot) == replace(run, slot=slot, attempt=attempt):
            return  # not stale
        before = describe(self.plan, self.now)
        assert self.plan.finished(slot, run.task_id, attempt, outcome, self.now, 0.5) == []
        assert describe(self.plan, self.now) == before

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        slot = data.draw(st.integers(0, self.slots - 1))
        run, was_stopped = self.calls.get(slot), slot in self.stop_by
        was = None if run is None else self.disk.records[run.task_id]
        orders = self.plan.lost(slot, "boom", self.now)
        assert orders[0] == Replace(slot)
        self.obey(orders)
        if was is not None and was.status is Status.RUNNING:
            now = self.disk.records[was.id]
            assert now.interruptions == was.interruptions + (not was_stopped)
            ends = now.interruptions > 3 or now.error_code is ErrorCode.EXPIRED
            assert (now.status is Status.FAILED) == ends

    @precondition(lambda self: self.is_watched)
    @rule()
    def probe_backend(self) -> None:
        self.is_watched, self.failures = False, ModelFailures()
        self.obey(self.plan.probed("b", ProbeResult(), self.now))
        assert self.gate.healthy

    @rule(span=spans, wakes=st.booleans())
    def let_time_pass(self, span: float, wakes: bool) -> None:
        self.now += span
        if wakes:
            self.obey(self.plan.wake(self.now))
            assert not any(due <= self.now for due in self.stop_by.values())

    @rule(step=st.sampled_from([-365 * DAY, -4.0, 60.0, 30 * DAY]))
    def set_clock(self, step: float) -> None:
        """Set the wall clock; durations must keep their lengths."""
        self.now = self.heard = self.now + step
        self.disk.clock_set(step)
        self.stop_by = {slot: due + step for slot, due in self.stop_by.items()}
        self.drain_by = None if self.drain_by is None else self.drain_by + step
        self.start_limits = {limit + step for limit in self.start_limits}
        self.obey(self.plan.clock_set(step, self.now))

    @precondition(lambda self: self.plan.next_due is not None)
    @rule()
    def sleep_until_due(self) -> None:
        self.now = max(self.now, self.plan.next_due or 0.0)
        self.obey(self.plan.wake(self.now))
        assert (self.plan.next_due or math.inf) > self.now, "a wake-up that changed nothing"

    @precondition(lambda self: self.calls or self.drain_by is not None)
    @rule()
    def crash(self) -> None:
        were = list(self.disk.having(Status.RUNNING))
        self.over.extend(self.calls.values())
        self.start()
        waiting = self.disk.entries(Status.PENDING)
        running = self.disk.entries(Status.RUNNING)
        keys = list(self.disk.keys.items())
        flags = ["paused"] if self.disk.paused else []
        self.obey(
            run_steps(self.plan.recover(waiting, running, keys, flags, self.now), never_yield)
        )
        for was in were:
            assert self.disk.records[was.id].interruptions == was.interruptions + 1
