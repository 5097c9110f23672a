"""Makes changes durable in groups, answers once they are, and reads."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, assert_never

from msgspec.structs import replace

from .base.actor import Actor, Ref, Replied, StoreError, reply, tell
from .base.cooperation import YieldControl, never_yield
from .base.inbox import Promise
from .base.thread_pool import Pool
from .core.activity.distribution import Distribution
from .core.activity.failure_tallies import FailureTallies
from .core.activity.measures import DiskMeasures
from .core.messages import (
    AddAudit,
    AddFile,
    AddHistory,
    AwaitBatch,
    BatchStored,
    CallsPlaced,
    CloseSubscriptions,
    Command,
    Commit,
    CommitChange,
    CountTasks,
    Delete,
    DeleteFile,
    FailuresCounted,
    Fetch,
    Fetched,
    FindBatch,
    FindDueDeliveries,
    FindEndedDeliveries,
    FindExpired,
    FindExpiredFiles,
    FindForgottenBatches,
    FindLiveTasks,
    GetBatch,
    GetDelivery,
    GetFile,
    GetTask,
    GetTenants,
    ListBatches,
    ListDeliveries,
    ListFailures,
    ListFiles,
    ListJobs,
    ListTasks,
    LoadBatch,
    MeasureDisk,
    Publish,
    ReadAudit,
    ReadHistory,
    ReadLines,
    ReadUsage,
    Recover,
    RejectChange,
    Scanned,
    StartCall,
    StoreSlice,
    Synced,
    TakeSnapshot,
    ToPersistence,
    Wake,
    WatchDeliveries,
    Write,
)
from .core.messages.command import Reply
from .core.messages.persistence import Calls
from .core.messages.replies import CallSpec, StoredTask
from .core.model.errors import Conflict, OutcomeUnknown, QueueError, Unavailable
from .core.model.files import StoredFile
from .core.model.orders import (
    Change,
    DropFile,
    Insert,
    Remove,
    Run,
    Save,
    SaveAudit,
    SaveFile,
    Stop,
)
from .core.model.stats import StoreSnapshot
from .core.model.tasks import Batch, BatchSubmitted, Record, Status
from .core.plan.settle import utc
from .core.webhooks.rules import DeliveryRules
from .files.free_space import why_unwritten
from .reading.failure_counts import FailureCounts
from .reading.reads import reading
from .store.commit_group import CommitGroup, HiddenTasks, SealedBatch, TaskWrite
from .store.file_store import no_file
from .store.page_reader import failures_of
from .store.task_store import TaskStore, no_task

T = TypeVar("T")
RELAXED_SYNC_S = 1.0
MOST_UNWRITTEN = 16 << 20  # bytes of a batch
NO_WEBHOOKS = DeliveryRules(())  # but those that tasks name


class Persistence(Actor):
    """Owns the disk and never waits for it: the fsync runs aside, and the mailbox stays open.

    Changes gather meanwhile and are written when it ends. A read that sees a change that is not
    durable yet is answered when it is.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        open_store: Callable[[], TaskStore],
        pools: Callable[[], tuple[Pool, Pool]],
        bus: Ref,
        rules: DeliveryRules = NO_WEBHOOKS,
        durable: bool = True,
        audit_retention_s: float | None = None,
        refusal: str = "",
    ) -> None:
        """`refusal`: why nothing is written, if the store is opened read-only."""
        super().__init__(report, yield_control)
        self.refusal = refusal
        self.open_store, self.pools, self.bus, self.durable = open_store, pools, bus, durable
        self.audit_retention_s = audit_retention_s
        self.rules = rules
        self.sender: Ref | None = None  # of webhooks
        self.gathering = CommitGroup()
        self.in_flight: CommitGroup | None = None
        self.is_writing_soon = False  # `Write` is in the mail
        self.live: dict[str, Record] = {}  # records of running tasks, which change soon
        self.scans: dict[int, tuple[Promise[Any] | None, CommitGroup | None]] = {}
        self.tickets = 0
        self.synced_at = time.monotonic()  # the boot synced
        self.syncs = Distribution()  # how long each fsync took
        self.hidden: dict[str, HiddenTasks] = {}  # of unsealed batches, by id
        self.failures = FailureCounts()
        self.awaited: dict[str, list[Promise[Batch] | None]] = {}  # by the id of the batch

    def on_start(self) -> None:
        self.store = self.open_store()
        self.store.audit.retention_s = self.audit_retention_s
        self.seq = self.store.boot << 32
        self.syncer, self.scanner = self.pools()
        self.aside(self.store.tidy, None)

    def on_close(self) -> bool:
        """Close after the fsync and the scans that are still running."""
        if not isinstance(self._epitaph, OutcomeUnknown):  # that of a crash says more
            # The last commits may be durable, unanswered as they are.
            self._epitaph = OutcomeUnknown(
                "the queue is stopped; it may have been done", retry_after_s=1
            )
        self.store.is_closing = True
        if not (self.syncer.finish(5.0) and self.scanner.finish(5.0)):
            return False
        self.store.close()
        return True

    def handle(self, message: ToPersistence) -> Replied | None:
        match message:
            case Commit():
                self.commit(message)
            case CommitChange():
                self.commit_change(message)
            case StoreSlice():
                self.store_slice(message)
            case GetBatch(batch_id):
                return self.once_synced(message, self.store.batches.one(batch_id))
            case FindBatch():
                return self.find_batch(message)
            case AwaitBatch(batch_id):
                return self.await_batch(message, batch_id)
            case GetTask():
                return self.get(message)
            case GetTenants(task_ids):
                return reply(message, self.tenants_of(task_ids))
            case CountTasks(tenant):
                counts = self.store.counts if tenant is None else self.store.counts_of(tenant)
                return self.once_synced(message, counts.copy())
            case MeasureDisk():
                return reply(message, DiskMeasures(self.store.counts.copy(), self.syncs.copy()))
            case RejectChange():
                self.deny(message)
            case Fetch():
                self.fetch(message)
            case Recover():
                recovered = self.store.recover()
                tell(self.bus, CloseSubscriptions("restarted", self.seq))  # what was is past
                if recovered.calls:
                    tell(self.bus, CallsPlaced(tuple(call.key for call in recovered.calls)))
                return reply(message, recovered)
            case Write():
                self.is_writing_soon = False
                if self.in_flight is None:
                    self.write()
            case Synced(error, took_s):
                if took_s is not None:
                    self.syncs.add(took_s)
                self.synced(error)
            case AddFile(file):
                self.add_file(message, file)
            case GetFile(file_id):
                return self.once_synced(message, self.store.files.one(file_id))
            case DeleteFile(file_id):
                self.delete_file(message, file_id)
            case AddAudit(note):
                self.check_writable()
                self.save((SaveAudit(note),), message, True)
            case AddHistory(parts):
                if not self.store.read_only:
                    self.store.add_history(parts)
                    self.sync_aside(lambda: None)
            case TakeSnapshot():
                self.take_snapshot(message)
            case ListFailures(limit, tenant):
                return self.list_failures(message, limit, tenant)
            case FailuresCounted():
                self.failures_counted(message)
            case WatchDeliveries(sender):
                self.sender = sender
            case GetDelivery(delivery_id):
                changed = self.gathering.deliveries.get(delivery_id)
                stored = changed or self.store.deliveries.one(delivery_id)
                return self.once_synced(message, stored)
            case Scanned(ticket, found, error):
                self.scanned(ticket, found, error)
            case (
                ListTasks()
                | ListBatches()
                | ListJobs()
                | ListFiles()
                | ListDeliveries()
                | ReadLines()
                | ReadAudit()
                | ReadHistory()
                | ReadUsage()
                | FindLiveTasks()
                | FindForgottenBatches()
                | FindExpired()
                | FindExpiredFiles()
                | FindDueDeliveries()
                | FindEndedDeliveries()
            ):
                self.aside(reading(self.store, message), self.later(message))
            case _:
                assert_never(message)
        return None

    # --- writing --------------------------------------------------------------------------------

    def save(self, saves: Iterable[Save], command: Command[Reply], answer: Reply) -> None:
        """Add to the group what this actor decides itself."""
        for save in saves:
            self.merge(save, utc(time.time()))
        self.gathering.answer(self.later(command), answer)
        self.write_soon()

    def commit(self, message: Commit[Reply]) -> None:
        """Add to the group, and pass calls on."""
        for save in message.saves:
            self.merge(save, message.at)
        self.gathering.answer(self.later(message), message.reply)
        self.write_soon()
        self.pass_calls_on(message.calls)

    def commit_change(self, message: CommitChange) -> None:
        changed, *_ = [self.merge(save, message.at) for save in message.saves]
        assert changed is not None, "the change of a task comes first"
        self.gathering.answer(self.later(message), changed)
        self.write_soon()
        self.pass_calls_on(message.calls)

    def pass_calls_on(self, calls: Calls) -> None:
        for worker, order in calls:
            match order:
                case Run():
                    tell(worker, StartCall(order, self.call_spec(order.task_id)))
                case Stop():
                    tell(worker, order)
                case _:
                    assert_never(order)

    def merge(self, save: Save, at: datetime) -> Record | None:
        self.seq += 1
        match save:
            case Insert():
                return self.gathering.insert(save, at, self.seq)
            case Change(task_id):
                return self.gathering.change(save, self.record(task_id), at, self.seq)
            case Remove(task_id):
                return self.gathering.remove(self.record(task_id), at, self.seq)
            case _:
                self.gathering.note(save, at, self.seq)
                return None

    def store_slice(self, message: StoreSlice) -> None:
        """Write a slice; the last one makes the complete batch visible at once."""
        batch, rows = message.batch, []
        for insert in message.inserts:
            self.seq += 1
            rows.append(TaskWrite(replace(insert.record, seq=self.seq), None, insert.spec))
        tasks = self.hidden.setdefault(batch.id, HiddenTasks())
        self.store.write_slice(batch.id, rows, tasks, self.yield_control)
        if not message.is_last:
            self.ask_for_more(message.scheduler, batch.id)
            return
        self.gathering.sealed.append(SealedBatch(batch, tasks, message.key, message.body))
        answer = BatchSubmitted(batch.id, tasks.ids)
        self.gathering.answer(self.later(message), answer)
        tell(message.scheduler, BatchStored(batch.id))
        self.write_soon()

    def ask_for_more(self, scheduler: Ref, batch_id: str) -> None:
        """Ask for the next slice, when there is room in memory for it."""
        if self.store.unwritten_bytes < MOST_UNWRITTEN:
            tell(scheduler, LoadBatch(batch_id))
            return
        self.sync_aside(lambda: tell(scheduler, LoadBatch(batch_id)))

    def find_batch(self, message: FindBatch) -> Replied | None:
        """The first answer again, once it is durable."""
        batch_id = message.batch_id
        for group in (self.gathering, self.in_flight):
            ids = group.ids_of(batch_id) if group is not None else None
            if ids is not None:
                again = BatchSubmitted(batch_id, ids, created=False)
                return self.answer(message, again, group)
        return reply(message, self.store.batches.found_again(batch_id))

    def await_batch(self, message: AwaitBatch, batch_id: str) -> Replied | None:
        batch = self.store.batches.one(batch_id)
        if batch.is_over:
            return self.once_synced(message, batch)
        self.awaited.setdefault(batch_id, []).append(self.later(message))
        return None

    def write_soon(self) -> None:
        """Write the group once the mail at hand is in it, unless an fsync is in flight."""
        if self.in_flight is None and not self.is_writing_soon:
            self.is_writing_soon = True
            tell(self.actor_ref, Write())

    def write(self) -> None:
        """Write the group to RocksDB and start its fsync aside."""
        gone = self.store.why_gone()
        if gone is not None:
            raise OSError(gone)
        group, self.gathering = self.gathering, CommitGroup()
        group.new_deliveries = self.rules.of(group.events)
        self.in_flight = group
        if not group.changes_disk:
            self.synced(None)
            return
        self.store.write(group, self.yield_control)
        self.failures.note(group)
        group.keep_running(self.live)
        for batch in self.store.batches.ended:
            for promise in self.awaited.pop(batch.id, ()):
                group.answer(promise, batch)
        self.store.batches.ended.clear()
        if self.durable:
            me = self.actor_ref
            sync = partial(_timed_sync, self.store, self.store.written())
            self.syncer.submit(sync, lambda took_s, error: tell(me, Synced(error, took_s)))
        else:
            self.synced(None)
            self.sync_behind()

    def sync_behind(self) -> None:
        """Sync at most once a second with relaxed durability; nothing waits for it."""
        now = time.monotonic()
        if now - self.synced_at >= RELAXED_SYNC_S:
            self.synced_at = now
            self.sync_aside(lambda: None)

    def sync_aside(self, then: Callable[[], None]) -> None:
        """Sync what is written, and call `then` in the thread that did; no group waits for it."""
        me = self.actor_ref

        def ended(_: object, error: str | None) -> None:
            if error is None:
                then()
            else:
                tell(me, Synced(error))

        self.syncer.submit(partial(self.store.sync, self.store.written()), ended)

    def synced(self, error: str | None) -> None:
        """Keep the promises, publish the events, and write what has gathered meanwhile."""
        if error is not None:  # what is on disk is unknown: reopen before anything else
            raise StoreError(f"fsync: {error}", why_unwritten(error))
        group, self.in_flight = self.in_flight, None
        assert group is not None
        for sealed in group.sealed:
            del self.hidden[sealed.batch.id]
        for promise, answer in group.answers:
            self.keep(promise, answer)
        for sealed in group.sealed:  # before later events of its tasks
            tell(self.bus, Publish(sealed))
        if dropped := [file_id for file_id, file in group.files.items() if file is None]:
            self.aside(partial(self.store.files.remove_bytes, dropped), None)
        if group.calls:
            placed = tuple(key for key, call in group.calls.items() if call is not None)
            tell(self.bus, CallsPlaced(placed, tuple(group.calls.keys() - placed)))
        if group.events:
            tell(self.bus, Publish(tuple(group.events)))
        if group.new_deliveries and self.sender is not None:
            tell(self.sender, Wake())
        if self.gathering:
            self.write_soon()

    def take_snapshot(self, message: TakeSnapshot) -> None:
        """Copy the store in the thread that removes the bytes of deleted files: none is missed."""
        self.check_writable()
        store, at = self.store, utc(time.time())
        tasks = sum(sum(levels.values()) for levels in store.counts.by_status.values())

        def take() -> StoreSnapshot | Unavailable:
            try:
                return StoreSnapshot(path=store.take_snapshot(), taken_at=at, tasks=tasks)
            except Exception as error:  # rocksdict raises no narrower type
                return Unavailable(f"no snapshot can be taken: {error}", retry_after_s=5)

        self.aside(take, self.later(message))

    # --- files ----------------------------------------------------------------------------------

    def add_file(self, message: AddFile, file: StoredFile) -> None:
        """Save the record of a file. A boot meanwhile has removed its bytes, as left over."""
        self.check_writable()
        if not self.store.files.blobs.has(file.id):
            raise Unavailable("the queue has restarted: send the file again", retry_after_s=1)
        self.save((SaveFile(file),), message, file)

    def delete_file(self, message: DeleteFile, file_id: str) -> None:
        self.check_writable()
        file = self.store.files.one(file_id)
        if file_id in self.gathering.files:  # somebody else was quicker
            raise no_file(file_id)
        self.save((DropFile(file_id), *message.entries()), message, file)

    def check_writable(self) -> None:
        if self.store.read_only:
            raise Unavailable(self.refusal, retry_after_s=5)

    # --- reading --------------------------------------------------------------------------------

    def unsynced(self, task_id: str) -> CommitGroup | None:
        """The group that will make a task's newest change durable; None if it already is."""
        for group in (self.gathering, self.in_flight):
            if group is not None and group.touches(task_id):
                return group
        return None

    def record(self, task_id: str) -> Record | None:
        group = self.unsynced(task_id)
        if group is not None:
            return group.record(task_id)
        return self.live.get(task_id) or self.store.record(task_id)

    def get(self, message: GetTask) -> Replied | None:
        task_id = message.task_id
        record, spec = self.record(task_id), self.spec_of(task_id)
        if record is None or spec is None:
            raise no_task(task_id)
        self.yield_control()  # each may be large
        group = self.unsynced(task_id)
        result = group.result(task_id) if group is not None else None
        if result is None and record.status is Status.COMPLETED:
            result = self.store.result(task_id)
        return self.answer(message, StoredTask(record, spec, result), group)

    def call_spec(self, task_id: str) -> CallSpec | None:
        """What a call asks, durable or not; None if that is not stored."""
        record, spec = self.record(task_id), self.spec_of(task_id)
        if record is None or spec is None:
            return None
        return CallSpec(record.type, record.model, spec, record.traceparent)

    def spec_of(self, task_id: str) -> bytes | None:
        for group in (self.gathering, self.in_flight):
            spec = group.spec(task_id) if group is not None else None
            if spec is not None:
                return spec
        return self.store.spec(task_id)

    def deny(self, message: RejectChange) -> None:
        task_id = message.task_id
        record = self.record(task_id)
        if record is None:
            raise no_task(task_id)
        why = f"task {task_id} is {record.status}: it cannot be {message.action}"
        error, group = Conflict(why, field="id"), self.unsynced(task_id)
        if group is None:
            raise error
        group.answer(self.later(message), error)

    def fetch(self, message: Fetch) -> None:
        command = message.command
        record = self.record(command.task_id)
        if isinstance(command, Delete) and record is not None and not command.means(record):
            record = None
        self.pass_on(message.scheduler, Fetched(command, record), self.later(message))

    def tenants_of(self, task_ids: Iterable[str]) -> dict[str, str | None]:
        records = {task_id: self.record(task_id) for task_id in task_ids}
        return {task_id: each.tenant for task_id, each in records.items() if each is not None}

    # --- failures -------------------------------------------------------------------------------

    def list_failures(
        self, message: ListFailures, limit: int, tenant: str | None
    ) -> Replied | None:
        groups = self.failures.groups(limit, tenant)
        if groups is not None:
            return self.once_synced(message, groups)
        if self.failures.ask(self.later(message), limit, tenant):
            self.count_some(failures_of(self.store))
        return None

    def count_some(self, count: Callable[[], FailureTallies | None]) -> None:
        """Count the next failed tasks; reads of others come in between."""
        me = self.actor_ref
        self.scanner.submit(
            self.store.reading(count),
            lambda tallies, error: tell(me, FailuresCounted(count, tallies, error)),
        )

    def failures_counted(self, message: FailuresCounted) -> None:
        if message.error is not None:
            raise OSError(f"scan: {message.error}")
        if message.tallies is None:
            self.count_some(message.count)
            return
        tallies = message.tallies
        for promise, groups in self.failures.counted(tallies):
            if self.in_flight is None:
                self.keep(promise, groups)
            else:  # they may have seen what is being synced
                self.in_flight.answer(promise, groups)

    # --- reading, in other threads --------------------------------------------------------------

    def once_synced(self, command: Command[Reply], answer: Reply) -> Replied | None:
        return self.answer(command, answer, self.in_flight)

    def answer(
        self, command: Command[Reply], answer: Reply, group: CommitGroup | None
    ) -> Replied | None:
        """Reply at once, or when the group that the answer depends on is durable."""
        if group is None:
            return reply(command, answer)
        group.answer(self.later(command), answer)
        return None

    def aside(self, read: Callable[[], T | QueueError], promise: Promise[T] | None) -> None:
        """Read in another thread, as of now; the reply comes with `Scanned`. What is read includes
        what is being synced: the answer waits for that."""
        self.tickets = ticket = self.tickets + 1
        me = self.actor_ref
        self.scans[ticket] = (promise, self.in_flight)
        self.scanner.submit(
            self.store.reading(read),
            lambda found, error: tell(me, Scanned(ticket, found, error)),
        )

    def scanned(self, ticket: int, result: object, error: str | None) -> None:
        promise, seen = self.scans.pop(ticket)
        if error is not None:
            raise OSError(f"scan: {error}")
        if seen is not None and seen is self.in_flight:
            seen.answer(promise, result)
        else:
            self.keep(promise, result)


def _timed_sync(store: TaskStore, written: Any) -> float:
    """Sync, in another thread; returns how many seconds it took."""
    began = time.monotonic()
    store.sync(written)
    return time.monotonic() - began
