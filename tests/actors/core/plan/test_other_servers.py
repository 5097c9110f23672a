"""Calls of other servers: which are assigned, adopted and given up, by random histories."""

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.orders import (
    AssignedCall,
    Change,
    DropCall,
    Insert,
    Order,
    Run,
    SaveCall,
    Stop,
)
from ollama_queue.actors.core.model.outcomes import Answered, CallEnd, Failed, Stopped, Verdict
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.core.plan.plan import Plan
from ollama_queue.actors.core.plan.slots import STOP_PATIENCE_S
from tests.support.plans import NOW, asked, make_plan

OWN, PARALLEL = 1, 5
NAMES = ("x", "y", "z")
DONE = Answered(b"{}")
SERVERS = st.fixed_dictionaries({}, optional={name: st.integers(0, 3) for name in NAMES})
ENDS = st.sampled_from(
    [
        CallEnd(DONE),
        CallEnd(Stopped()),
        CallEnd(None, "crashed"),
        CallEnd(Failed("no", Verdict.CUT)),
    ]
)


def plan_with(**servers: int) -> Plan:
    plan = make_plan(OWN, PARALLEL)
    plan.staff(servers, NOW)
    return plan


def saved(orders: list[Order]) -> list[AssignedCall]:
    return [order.call for order in orders if isinstance(order, SaveCall)]


def submitted(plan: Plan, ids: str) -> list[Order]:
    return [order for task_id in ids for order in plan.submit(task_id, asked(), NOW)]


def test_calls_go_to_the_server_that_is_most_free() -> None:
    plan = plan_with(x=2, y=1)

    orders = [plan.submit(task_id, asked(), NOW) for task_id in "abcdef"]

    own = [order.task_id for each in orders for order in each if isinstance(order, Run)]
    others = {call.run.task_id: call.server for each in orders for call in saved(each)}
    assert own == ["b"]
    assert others == {"a": "x", "c": "x", "d": "y"}


def test_a_server_without_slots_gets_no_calls() -> None:
    plan = plan_with(x=0)

    orders = [plan.submit(task_id, asked(), NOW) for task_id in "abc"]

    assert [call for each in orders for call in saved(each)] == []
    assert plan.slots.count == OWN


def test_the_end_of_a_call_forgets_it_and_starts_the_next() -> None:
    plan = plan_with(x=1)
    ids = "abcd"
    (call,) = saved(submitted(plan, ids))

    orders = plan.call_ended(call.key, CallEnd(DONE), NOW, 0.5)

    assert DropCall(call.key) in orders
    assert [next_call.run.task_id for next_call in saved(orders)] == ["c"]


def test_an_end_that_nobody_waits_for_is_forgotten() -> None:
    assert plan_with().call_ended("x:a:1", CallEnd(DONE), NOW, 0.5) == [DropCall("x:a:1")]


def test_a_call_that_does_not_stop_in_time_is_given_up() -> None:
    plan = plan_with(x=1)
    calls = saved(submitted(plan, "abc"))

    stopped = plan.cancel(calls[0].run.task_id, NOW)
    given_up = plan.wake(NOW + STOP_PATIENCE_S)

    assert [call.stop for call in saved(stopped)] == [True]
    assert DropCall(calls[0].key) in given_up


def test_draining_leaves_the_calls_of_others_alone() -> None:
    plan = plan_with(x=1)
    for task_id in "abc":
        plan.submit(task_id, asked(), NOW)

    stopped = plan.drain(0.0, NOW)

    assert not saved(stopped)
    assert [order.slot for order in stopped if isinstance(order, Stop)] == [0]
    plan.finished(0, "a", 1, Stopped(), NOW, 0.5)
    assert plan.is_drained


class OtherServers(RuleBasedStateMachine):
    """A leader with other servers, its rows of calls, and leaders that follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, int] = {}
        self.records: dict[str, Record] = {}
        self.rows: dict[str, AssignedCall] = {}
        self.own: dict[int, tuple[str, int]] = {}
        self.count, self.now = 0, NOW
        self.plan = make_plan(OWN, PARALLEL)

    def carry_out(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Insert(record):
                    self.records[record.id] = record
                case Change(task_id, fields):
                    was = self.records[task_id]
                    assert not was.status.is_final or fields["status"] is Status.PENDING
                    self.records[task_id] = replace(was, **fields)
                case SaveCall(call):
                    if call.key not in self.rows:
                        busy = sum(each.server == call.server for each in self.rows.values())
                        assert busy < self.servers[call.server], "more calls than slots"
                    self.rows[call.key] = call
                case DropCall(key):
                    self.rows.pop(key, None)
                case Run(slot, task_id, attempt):
                    assert slot not in self.own
                    self.own[slot] = task_id, attempt
                case _:
                    pass

    @rule(count=st.integers(1, 8), priority=st.integers(1, 15))
    def submit(self, count: int, priority: int) -> None:
        for _ in range(count):
            self.count += 1
            task_id = f"{self.count:03}"
            self.carry_out(self.plan.submit(task_id, asked(priority=priority), self.now))

    @rule(servers=SERVERS)
    def staff(self, servers: dict[str, int]) -> None:
        self.servers = servers
        self.carry_out(self.plan.staff(servers, self.now))

    @rule(data=st.data(), end=ENDS)
    def end_of_another(self, data: st.DataObject, end: CallEnd) -> None:
        if self.rows:
            key = data.draw(st.sampled_from(sorted(self.rows)))
            self.carry_out(self.plan.call_ended(key, end, self.now, 0.5))

    @rule(data=st.data())
    def end_of_own(self, data: st.DataObject) -> None:
        if self.own:
            slot = data.draw(st.sampled_from(sorted(self.own)))
            task_id, attempt = self.own.pop(slot)
            self.carry_out(self.plan.finished(slot, task_id, attempt, DONE, self.now, 0.5))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        live = [each.id for each in self.records.values() if not each.status.is_final]
        if live:
            self.carry_out(self.plan.cancel(data.draw(st.sampled_from(sorted(live))), self.now))

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ended = [i for i, each in self.records.items() if each.status is Status.CANCELLED]
        if ended:
            record = self.records[data.draw(st.sampled_from(sorted(ended)))]
            self.carry_out(self.plan.revive(record, self.now))

    @rule(seconds=st.sampled_from([0.1, STOP_PATIENCE_S, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        replaced = [slot for slot in self.own if self.is_overdue(slot)]
        for slot in replaced:
            del self.own[slot]
        self.carry_out(self.plan.wake(self.now))

    def is_overdue(self, slot: int) -> bool:
        running = self.plan.slots.in_slot(slot)
        return running is not None and (running.stop_by or self.now + 1) <= self.now

    @rule(servers=SERVERS)
    def another_leads(self, servers: dict[str, int]) -> None:
        """Its own calls are cut; those of servers that are still there go on."""
        self.servers, self.own = servers, {}
        kept = {key for key, call in self.rows.items() if call.server in servers and not call.stop}
        self.plan = make_plan(OWN, PARALLEL)
        self.plan.slots.staff(servers)
        live = [each for each in self.records.values() if not each.status.is_final]
        waiting = [entry_of(each) for each in live if each.status is Status.PENDING]
        running = [entry_of(each) for each in live if each.status is Status.RUNNING]
        steps = self.plan.recover(waiting, running, [], [], self.now, list(self.rows.values()))
        self.carry_out(_result_of(steps))
        assert kept <= self.rows.keys(), "a call that went on is adopted"

    @invariant()
    def the_rows_are_what_the_plan_knows(self) -> None:
        known = {each.assigned.key: each.assigned for each in self.plan.slots if each.assigned}
        assert known == self.rows

    @invariant()
    def each_running_task_has_one_call(self) -> None:
        calls = Counter((call.run.task_id, call.run.attempt) for call in self.rows.values())
        calls.update(self.own.values())
        for record in self.records.values():
            if record.status is Status.RUNNING:
                assert calls[record.id, record.attempt] == 1, record

    @invariant()
    def no_limit_is_exceeded_by_new_calls(self) -> None:
        (gate,) = self.plan.gates
        assert gate.running == len(self.plan.slots)
        assert self.plan.slots.free >= 0
        for server, free in self.plan.slots._others.items():
            busy = sum(call.server == server for call in self.rows.values())
            assert len(free) == max(self.servers[server] - busy, 0)


def _result_of(steps: Any) -> list[Order]:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return list(stop.value)


TestOtherServers = OtherServers.TestCase
TestOtherServers.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
