"""Passes commands and facts on tasks to the plan, and carries out its orders."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, assert_never

from msgspec.structs import replace

from .base.actor import Actor, Ref, Replied, log, reply, tell
from .base.clock import LEAST_STEP_S, Clock
from .base.cooperation import YieldControl, never_yield, run_steps
from .base.inbox import Promise
from .batch_loading import BatchLoad
from .core.activity.measures import PlanMeasures
from .core.messages import (
    AddAccessKey,
    BackendProbed,
    BatchStored,
    CallsEnded,
    Cancel,
    ChangeCommand,
    CheckCapacity,
    ClaimKey,
    Command,
    Commit,
    CommitChange,
    CronFired,
    Delete,
    Describe,
    Drain,
    DrainBackend,
    EnqueueBatch,
    Explain,
    Fetch,
    Fetched,
    FindBatch,
    Finished,
    GetBudgets,
    GetTask,
    GetWaitReasons,
    ListAccessKeys,
    LoadBatch,
    MeasurePlan,
    ModelKept,
    Pause,
    RejectChange,
    Reprioritize,
    Resume,
    Retry,
    RevokeAccessKey,
    RotateAccessKey,
    ServersSeen,
    Submit,
    SubmitBatch,
    SubmitCronRun,
    ToScheduler,
    Wake,
    WorkerLost,
)
from .core.messages.command import Reply
from .core.messages.persistence import Calls
from .core.messages.replies import Recovered
from .core.model.errors import Conflict, NotFound
from .core.model.ids import mint
from .core.model.orders import (
    KeepModel,
    Order,
    Probe,
    Replace,
    Run,
    Save,
    SaveCron,
    Stop,
    Warn,
    split,
)
from .core.model.tasks import Batch, Record, Status, Submitted
from .core.plan.cron_runs import submit_cron_run
from .core.plan.explain import describe, describe_one, due_by_model, explain, reasons
from .core.plan.plan import Plan
from .core.plan.settle import utc


class ActorSpawner(Protocol):
    """Starts actors for the scheduler: System does, so that it can stop them all."""

    def spawn_worker(self, slot: int, scheduler: Ref, report: Callable[[str], None]) -> Ref: ...

    def spawn_prober(self, scheduler: Ref) -> Ref: ...

    def dismiss(self, worker: Ref) -> None: ...


class Scheduler(Actor):
    """Decides what runs next. Everything it knows can be recovered from Persistence."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        plan: Plan,
        recovered: Recovered,
        persistence: Ref,
        spawner: ActorSpawner,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        staff: Mapping[str, int] | None = None,
    ) -> None:
        """`staff`: as in `ServersSeen`, at the start."""
        self.time = clock or Clock()
        super().__init__(report, yield_control, self.time.now)
        self.plan, self.recovered, self.persistence = plan, recovered, persistence
        self.spawner, self.chance = spawner, chance or random.Random()
        self.last_us = recovered.last_us
        self.workers: dict[int, Ref] = {}
        self.incarnation: dict[int, int] = {}  # by slot: its worker's number, counted over all
        self.incarnations = 0
        self.fetching: set[str] = set()  # finished tasks that are about to change
        self.loading: dict[str, BatchLoad] = {}  # batches being loaded, by id
        self.at_first = staff or {}
        self.drained: Promise[bool] | None = None

    def on_start(self) -> None:
        self.prober = self.spawner.spawn_prober(self.actor_ref)
        for slot in range(self.plan.slots.free):
            self.replace(slot)
        self.plan.slots.staff(self.at_first)
        old, self.recovered = self.recovered, Recovered([], [], [], {}, 0)
        flags, now = [name for name, is_on in old.flags.items() if is_on], self.clock()
        self.plan.restore_access(old.access_keys, old.usages)
        recovery = self.plan.recover(old.waiting, old.running, old.keys, flags, now, old.calls)
        self.carry_out(run_steps(recovery, self.yield_control), now)

    def handle(self, message: ToScheduler) -> Replied | None:
        now = self.clock()
        if step := self.time.step():
            self.clock_set(step, now)
        match message:
            case Submit():
                self.submit(message)
            case Finished(slot, task_id, attempt, outcome):
                chance = self.chance.random()
                orders = self.plan.finished(slot, task_id, attempt, outcome, now, chance)
                self.carry_out(orders, now)
            case SubmitCronRun():
                self.submit_cron_run(message)
            case CheckCapacity(tasks, size):
                self.plan.check_capacity(tasks, size)
                return reply(message, True)
            case SubmitBatch():
                self.submit_batch(message)
            case ClaimKey():
                holder, orders = self.plan.claim_key(message, now)
                self.carry_out(orders, now)
                return reply(message, holder)
            case LoadBatch(batch_id):
                self.load_batch(batch_id)
            case BatchStored(batch_id):
                self.batch_stored(batch_id, now)
            case EnqueueBatch(batch_id):
                self.enqueue_batch(batch_id, now)
            case Cancel() | Reprioritize():
                self.change(message, now)
            case Retry() | Delete():
                self.fetch(message)
            case Fetched():
                self.fetched(message, now)
            case WorkerLost(slot, incarnation, error):
                if self.incarnation[slot] == incarnation:
                    self.carry_out(self.plan.lost(slot, error, now), now)
            case ServersSeen(slots):
                self.carry_out(self.plan.staff(slots, now), now)
            case CallsEnded(ends):
                for key, end in ends:
                    chance = self.chance.random()
                    self.carry_out(self.plan.call_ended(key, end, now, chance), now)
            case BackendProbed(backend, result):
                self.carry_out(self.plan.probed(backend, result, now), now)
            case ModelKept(backend, model, error):
                self.plan.model_kept(backend, model, error, now)
            case DrainBackend(backend, value):
                orders = self.plan.drain_backend(backend, value, now)
                log.info("backend %s %s", backend, "drained" if value else "resumed")
                self.answer(
                    message, noted(message, orders), now, describe_one(self.plan, backend, now)
                )
            case Pause():
                self.answer(message, noted(message, self.plan.pause()), now, True)
            case Resume():
                self.answer(message, noted(message, self.plan.resume(now)), now, True)
            case Explain(task_ids):
                return reply(message, explain(self.plan, task_ids, now))
            case GetWaitReasons():
                return reply(message, reasons(self.plan, now))
            case Describe(tenant):
                return reply(message, describe(self.plan, now, tenant))
            case MeasurePlan():
                return reply(message, self.measures(now))
            case AddAccessKey(key):
                orders, info = self.plan.add_key(key, now)
                self.answer(message, noted(message, orders), now, info)
            case RotateAccessKey(name, digest, hint):
                orders, info = self.plan.rotate_key(name, digest, hint)
                self.answer(message, noted(message, orders), now, info)
            case RevokeAccessKey(name):
                orders, info = self.plan.revoke_key(name, now)
                self.answer(message, noted(message, orders), now, info)
            case ListAccessKeys():
                keys = self.plan.key_infos(now), self.plan.access.grants
                self.answer(message, [], now, keys)
            case GetBudgets(tenant):
                return reply(message, self.plan.quotas.budgets(tenant, now))
            case Drain(grace_s):
                if self.drained is None:
                    self.drained = self.later(message)
                    self.say_who_is_waited_for(grace_s)
                self.carry_out(self.plan.drain(grace_s, now), now)
            case Wake():
                self.carry_out(self.plan.wake(now), now)
            case _:
                assert_never(message)
        return None

    def measures(self, now: float) -> PlanMeasures:
        replaced = self.incarnations - len(self.workers)
        failures = {gate.name: dict(gate.failures_by) for gate in self.plan.gates}
        return PlanMeasures(describe(self.plan, now), due_by_model(self.plan), failures, replaced)

    def say_who_is_waited_for(self, grace_s: float) -> None:
        count = sum(not running.cancelled for running in self.plan.slots.own)
        if count and grace_s:
            tasks = "1 running task has" if count == 1 else f"{count} running tasks have"
            log.warning("stopping: %s up to %g s to end; Ctrl-C stops at once", tasks, grace_s)

    def clock_set(self, step: float, now: float) -> None:
        """React to a change of the wall clock, by so many seconds."""
        way = "forward" if step > 0 else "back"
        log.warning("the clock was set %s by %.0f s", way, abs(step))
        self.carry_out(self.plan.clock_set(step, now), now)

    def mint(self) -> tuple[str, float]:
        """An id that sorts after all earlier ones, whatever the clock does, and the current time.

        The time is the id's, unless the clock is behind earlier ids.
        """
        now = self.clock()
        self.last_us = max(int(now * 1e6), self.last_us + 1)
        instant = self.last_us / 1e6
        at = instant if instant < now + LEAST_STEP_S else now
        return mint(self.last_us, self.chance.getrandbits(62)), at

    def submit(self, command: Submit) -> None:
        task_id, now = self.mint()
        known = self.plan.find(command, now)
        if known is not None:
            promise = self.later(command)
            self.pass_on(self.persistence, GetTask(known), promise)
            return
        orders = self.plan.submit(task_id, command, now)
        self.answer(command, orders, now, self.submitted(task_id))

    def submit_cron_run(self, cron_run: SubmitCronRun) -> None:
        """Submit a cron's run. The ticker is told in any case, after Persistence."""
        task_id, now = self.mint()
        cron = cron_run.cron
        try:
            orders = submit_cron_run(self.plan, task_id, cron_run, now)
            self.answer(cron_run, noted(cron_run, orders), now, self.submitted(task_id))
            cron = next(order.cron for order in orders if isinstance(order, SaveCron))
        finally:
            tell(cron_run.ticker, CronFired(cron))

    def submitted(self, task_id: str) -> Submitted:
        status, position = Status.RUNNING, None
        entry = self.plan.entries.get(task_id)
        if entry is not None and self.plan.slots.running(task_id) is None:
            status, position = Status.PENDING, self.plan.waiting.position(entry)
        return Submitted(task_id, status, position)

    def submit_batch(self, message: SubmitBatch) -> None:
        batch_id, now = self.mint()
        if message.batch is not None:
            batch_id = message.batch.id
        known = self.plan.find(message, now)
        if known in self.loading and not self.loading[known].is_stored:
            self.loading[known].again.append(self.later(message))
            return
        if known is not None:
            self.pass_on(self.persistence, FindBatch(known), self.later(message))
            return
        orders, count = self.plan.submit_batch(batch_id, message, now), message.count
        batch = message.batch or Batch(
            id=batch_id, created_at=utc(now), total=count, tenant=message.tenant
        )
        batch = replace(batch, total=count, pending=count)
        self.loading[batch_id] = BatchLoad(batch, message, now, self.later(message))
        tell(self.actor_ref, LoadBatch(batch_id))
        self.carry_out(orders, now)

    def load_batch(self, batch_id: str) -> None:
        loading = self.loading[batch_id]
        stored = loading.prepare(self.mint, self.plan.retry.max_retries, self.actor_ref)
        if stored.is_last:
            self.pass_on(self.persistence, stored, loading.promise)
        else:
            tell(self.persistence, stored)

    def batch_stored(self, batch_id: str, now: float) -> None:
        loading = self.loading[batch_id]
        loading.is_stored = True
        for promise in loading.again:
            self.pass_on(self.persistence, FindBatch(batch_id), promise)
        self.enqueue_batch(batch_id, now)

    def enqueue_batch(self, batch_id: str, now: float) -> None:
        entries = self.loading[batch_id].take()
        if entries:
            self.carry_out(self.plan.enqueue(entries, now), now)
            tell(self.actor_ref, EnqueueBatch(batch_id))
        else:
            del self.loading[batch_id]

    def change(self, command: Cancel | Reprioritize, now: float) -> None:
        """Change a pending or running task; only Persistence can answer for others."""
        task_id = command.task_id
        match command:
            case Cancel(_, reason):
                action, change = "cancelled", partial(self.plan.cancel, task_id, now, reason)
            case Reprioritize(_, priority):
                action = "given another priority"
                change = partial(self.plan.reprioritize, task_id, priority, now)
            case _:
                assert_never(command)
        if task_id in self.plan.entries:
            self.answer_changed(command, noted(command, change()), now)
        else:
            self.pass_on(self.persistence, RejectChange(task_id, action), self.later(command))

    def fetch(self, command: Retry | Delete) -> None:
        """Have Persistence read a finished task, which comes back as `Fetched`."""
        task_id = command.task_id
        if task_id in self.plan.entries or task_id in self.fetching:
            raise Conflict(f"task {task_id} has not ended", field="id")
        self.fetching.add(task_id)
        self.pass_on(self.persistence, Fetch(command, self.actor_ref), self.later(command))

    def fetched(self, message: Fetched, now: float) -> None:
        command, record = message.command, message.record
        self.fetching.discard(command.task_id)
        if record is None:
            raise NotFound(f"there is no task {command.task_id}", field="id")
        match command:
            case Retry(_, expires_in):
                orders = self.plan.revive(record, now, expires_in)
            case Delete():
                orders = self.plan.delete(record)
            case _:
                assert_never(command)
        self.answer_changed(message, noted(command, orders), now)

    # --- orders ---------------------------------------------------------------------------------
    # Persistence passes calls on to the workers, and answers the caller once all saves are durable.

    def carry_out(self, orders: list[Order], now: float) -> None:
        saves, calls = self.act(orders)
        if saves or calls:
            tell(self.persistence, Commit(saves, utc(now), None, calls))
        self.go_on(now)

    def answer(
        self, command: Command[Reply], orders: list[Order], now: float, answer: Reply
    ) -> None:
        saves, calls = self.act(orders)
        commit = Commit(saves, utc(now), answer, calls)
        self.pass_on(self.persistence, commit, self.later(command))
        self.go_on(now)

    def answer_changed(self, command: Command[Record], orders: list[Order], now: float) -> None:
        """Answer with the task's record as changed by the first order."""
        saves, calls = self.act(orders)
        commit = CommitChange(saves, utc(now), calls)
        self.pass_on(self.persistence, commit, self.later(command))
        self.go_on(now)

    def act(self, orders: list[Order]) -> tuple[tuple[Save, ...], Calls]:
        """Carry out the orders that are not for Persistence; returns those that are."""
        saves, acts = split(orders)
        calls: list[tuple[Ref, Run | Stop]] = []
        for act in acts:
            match act:
                case Run(slot) | Stop(slot):
                    calls.append((self.workers[slot], act))
                case Probe() | KeepModel():
                    tell(self.prober, act)
                case Warn(text):
                    log.warning("%s", text)
                case Replace(slot):
                    self.replace(slot)
                case _:
                    assert_never(act)
        return tuple(saves), tuple(calls)

    def go_on(self, now: float) -> None:
        """Report the end of a drain, and wake when the plan next has something to do."""
        if self.drained is not None and self.plan.is_drained:
            # An empty commit is answered when all earlier ones are durable.
            self.pass_on(self.persistence, Commit((), utc(now), True), self.drained)
            self.drained = None
        self.wake_at(self.plan.next_due)

    def replace(self, slot: int) -> None:
        """Put a new worker into a slot and dismiss the old one."""
        old = self.workers.get(slot)
        if old is not None:
            self.spawner.dismiss(old)
        self.incarnations += 1
        incarnation = self.incarnation[slot] = self.incarnations
        me = self.actor_ref
        self.workers[slot] = self.spawner.spawn_worker(
            slot, me, lambda error: tell(me, WorkerLost(slot, incarnation, error))
        )


def noted(command: ChangeCommand[Any], orders: list[Order]) -> list[Order]:
    """The orders, with the entry of the audit log that the command comes with."""
    return [*orders, *command.entries()]
