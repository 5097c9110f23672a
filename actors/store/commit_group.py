"""A commit group: the changes that one fsync makes durable, merged per task, with their replies."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_never

from msgspec import Struct
from msgspec.structs import replace

from ..base.inbox import Promise
from ..core.activity.audit import AuditEntry, entry_of
from ..core.messages.command import Reply
from ..core.model.access_keys import AccessKey, TenantUsage
from ..core.model.crons import Cron
from ..core.model.deliveries import StoredDelivery
from ..core.model.entry import KeyUse
from ..core.model.errors import QueueError
from ..core.model.events import EventRecord
from ..core.model.files import StoredFile
from ..core.model.orders import (
    Announce,
    AssignedCall,
    Change,
    DropAccessKey,
    DropBatch,
    DropCall,
    DropCron,
    DropDelivery,
    DropFile,
    DropKey,
    Insert,
    SaveAccessKey,
    SaveAudit,
    SaveBatch,
    SaveCall,
    SaveCron,
    SaveDelivery,
    SaveElse,
    SaveFile,
    SaveJob,
    SaveUsage,
    SetFlag,
)
from ..core.model.tasks import Batch, BatchJob, Record, Status
from ..core.plan.settle import cut_attempt, kept
from .encoding import decode_record


class TaskWrite(Struct):
    """The writes for one task in a group: its newest record, and its spec and result if new."""

    record: Record
    was: Record | None  # the record on disk, None when new
    spec: bytes | None = None
    result: bytes | None = None
    body: bytes = b""
    cron: Cron | None = None  # the cron whose run this task is, as changed by that run

    @property
    def size(self) -> int:
        """Bytes of the spec and the result, which may be large."""
        return len(self.spec or b"") + len(self.result or b"")


class HiddenTasks:
    """The tasks of an unsealed batch, kept encoded: there may be a million."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.levels: Counter[tuple[int, str | None]] = Counter()  # tasks per priority and tenant
        self._written: list[bytes] = []

    def add(self, record: Record, written: bytes) -> None:
        self.ids.append(record.id)
        self.levels[record.priority, record.tenant] += 1
        self._written.append(written)

    def __iter__(self) -> Iterator[Record]:
        return map(decode_record, self._written)


class SealedBatch(Struct, frozen=True):
    """A batch whose tasks are all written: from now on they count and are visible."""

    batch: Batch
    tasks: HiddenTasks
    key: bytes | None
    body: bytes

    def __iter__(self) -> Iterator[EventRecord]:
        """The events to publish. Each is built when it is consumed."""
        at = self.batch.created_at
        return (EventRecord("task_submitted", task, at, task.seq) for task in self.tasks)


class CommitGroup:
    """Collects changes while the previous fsync is in flight."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskWrite] = {}
        self.removed: dict[str, Record] = {}  # the records on disk
        self.sealed: list[SealedBatch] = []
        self.flags: dict[str, bool] = {}
        self.dropped_keys: list[bytes] = []
        self.crons: dict[str, Cron | None] = {}  # None when removed
        self.files: dict[str, StoredFile | None] = {}  # None when deleted
        self.batches: dict[str, Batch | None] = {}  # new ones; None when deleted
        self.access_keys: dict[str, AccessKey | None] = {}  # by name; None when deleted
        self.usages: dict[str, TenantUsage] = {}  # by tenant
        self.idempotency_keys: dict[bytes, KeyUse] = {}  # of new batches
        self.jobs: dict[str, BatchJob] = {}  # changed ones, by the id of their batch
        self.audit: list[AuditEntry] = []
        self.deliveries: dict[str, StoredDelivery | None] = {}  # changed ones; None when deleted
        self.new_deliveries: list[StoredDelivery] = []  # of `events`
        self.calls: dict[str, AssignedCall | None] = {}  # of other servers; None when dropped
        self.events: list[EventRecord] = []
        self.answers: list[tuple[Promise[Any] | None, object]] = []

    @property
    def changes_disk(self) -> bool:
        tasks = self.rows or self.removed or self.sealed
        batches = self.batches or self.jobs
        rest = self.flags or self.dropped_keys or self.crons or self.files or self.deliveries
        access = self.access_keys or self.usages or self.audit or self.calls
        return bool(tasks or batches or rest or access)

    def __bool__(self) -> bool:
        return self.changes_disk or bool(self.answers or self.events)

    def answer(self, promise: Promise[Reply] | None, answer: Reply | QueueError) -> None:
        """Resolve the promise with `answer` once this group is durable."""
        self.answers.append((promise, answer))

    # --- merging --------------------------------------------------------------------------------

    def insert(self, insert: Insert, at: datetime, seq: int) -> Record:
        record = replace(insert.record, seq=seq)
        self.rows[record.id] = TaskWrite(record, None, insert.spec, None, insert.body)
        self.events.append(EventRecord("task_submitted", record, at, seq))
        return record

    def change(self, change: Change, was: Record | None, at: datetime, seq: int) -> Record:
        """Merge a change into the task's record. `was` is the newest known record."""
        if was is None:
            raise LookupError(f"a change of task {change.task_id}, which is not stored")
        row = self.rows.setdefault(change.task_id, TaskWrite(was, was))
        facts = dict(change.fields)
        ended = change.ended if change.cut is None else cut_attempt(was, change.cut, at)
        if ended is not None:
            facts["attempts"] = kept([*was.attempts, ended])
        if change.result is not None:
            row.result = change.result
        row.record = replace(was, seq=seq, **facts)
        self.events.append(EventRecord(change.event, row.record, at, seq))
        return row.record

    def remove(self, was: Record | None, at: datetime, seq: int) -> Record:
        if was is None:
            raise LookupError("a removal of a task that is not stored")
        row = self.rows.pop(was.id, None)
        on_disk = was if row is None else row.was
        if on_disk is not None:
            self.removed[was.id] = on_disk
        self.events.append(EventRecord("task_deleted", replace(was, seq=seq), at, seq))
        return was

    def note(self, save: SaveElse, at: datetime, seq: int) -> None:
        """Add a change that does not concern a task, or not its record."""
        match save:
            case SetFlag(name, value, event, backend):
                self.flags[name] = value
                self.events.append(EventRecord(event, None, at, seq, backend=backend))
            case Announce(event, backend, reason):
                self.events.append(
                    EventRecord(event, None, at, seq, reason=reason, backend=backend)
                )
            case DropKey(key):
                self.dropped_keys.append(key)
            case SaveCron():
                self._save_cron(save, at, seq)
            case DropCron(cron_id, tenant):
                self.crons[cron_id] = None
                self.events.append(
                    EventRecord("cron_changed", None, at, seq, cron_id, tenant=tenant)
                )
            case SaveAudit(note):
                self.audit.append(entry_of(note, seq, at))
            case SaveFile(file):
                self.files[file.id] = file
            case DropFile(file_id):
                self.files[file_id] = None
            case SaveBatch(batch, digest, body):
                self.batches[batch.id] = batch
                if digest is not None:
                    use = KeyUse(batch.id, body, batch.created_at.timestamp())
                    self.idempotency_keys[digest] = use
            case SaveJob(batch_id, job):
                self.jobs[batch_id] = job
            case SaveAccessKey(key):
                self.access_keys[key.name] = key
            case DropAccessKey(name):
                self.access_keys[name] = None
            case SaveUsage(tenant, usage):
                self.usages[tenant] = usage
            case DropBatch(batch_id):
                self.batches[batch_id] = None
            case SaveDelivery(stored):
                self.deliveries[stored.delivery.id] = stored
            case DropDelivery(delivery_id):
                self.deliveries[delivery_id] = None
            case SaveCall(call):
                self.calls[call.key] = call
            case DropCall(key):
                self.calls[key] = None
            case _:
                assert_never(save)

    def _save_cron(self, save: SaveCron, at: datetime, seq: int) -> None:
        self.crons[save.cron.id] = save.cron
        task = None
        if save.task_id is not None:
            row = self.rows[save.task_id]
            row.cron, task = save.cron, row.record
        cron = save.cron
        event = EventRecord(save.event, task, at, seq, cron.id, save.reason, tenant=cron.tenant)
        self.events.append(event)

    def keep_running(self, live: dict[str, Record]) -> None:
        """Update `live`, the records of running tasks, from this group."""
        for task_id in self.removed:
            live.pop(task_id, None)
        for task_id, row in self.rows.items():
            if row.record.status is Status.RUNNING:
                live[task_id] = row.record
            else:
                live.pop(task_id, None)

    # --- not durable yet ------------------------------------------------------------------------

    def touches(self, task_id: str) -> bool:
        return task_id in self.rows or task_id in self.removed

    def record(self, task_id: str) -> Record | None:
        row = self.rows.get(task_id)
        return None if row is None else row.record

    def ids_of(self, batch_id: str) -> list[str] | None:
        """The ids of the tasks of a batch sealed in this group, in order."""
        sealed = next((each for each in self.sealed if each.batch.id == batch_id), None)
        return None if sealed is None else sealed.tasks.ids

    def spec(self, task_id: str) -> bytes | None:
        row = self.rows.get(task_id)
        return None if row is None else row.spec

    def result(self, task_id: str) -> bytes | None:
        row = self.rows.get(task_id)
        return None if row is None else row.result
