"""How tasks, batches and crons are stored in column families, on disk or in memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..base.actor import log
from ..base.cooperation import YieldControl, cooperatively, never_yield
from ..core.activity.history import MinuteTallies
from ..core.messages.replies import Recovered
from ..core.model.crons import Cron
from ..core.model.entry import KeyUse
from ..core.model.errors import NotFound
from ..core.model.ids import instant_of
from ..core.model.orders import AssignedCall
from ..core.model.stats import Counts
from ..core.model.tasks import Record, Status
from ..files.blobs import Blobs
from .audit_store import AuditStore
from .batches import BatchStore
from .commit_group import CommitGroup, HiddenTasks, TaskWrite
from .delivery_store import DeliveryStore
from .encoding import (
    TENANT,
    WHOLE,
    Changes,
    Family,
    after,
    decode_access_key,
    decode_call,
    decode_counts,
    decode_cron,
    decode_keyed,
    decode_record,
    decode_usage,
    encode,
    encode_cron,
    entries,
)
from .file_store import FileStore
from .history_store import HistoryStore
from .indexes import delete_rows, put_rows

T = TypeVar("T")
ACCESS, USED = b"access:", b"used:"  # in `meta`, before a name
_MOST_UNWRITTEN = 4 << 20  # bytes of what a boot deletes
MOST_TENANTS = 10_000  # whose counts are kept in memory
SLICE_BYTES = 1 << 20  # a larger batch would hold the interpreter lock for too long


class TaskStore(ABC):
    """What Persistence writes to and reads from. Subclasses provide the column families."""

    boot: int
    """How many times the store has been opened."""
    counts: Counts
    read_only = False
    is_in_memory = False
    is_closing = False  # set, long work in other threads ends

    def __init__(self, blobs: Blobs) -> None:
        self._tables: dict[str, Family] = {}
        self._tenants: dict[str, Counts] = {}
        self._recounted: set[str] = set()  # tenants whose counts are not written yet
        self._handles: dict[str, Any] = {}  # of the same families, for writing
        self.batches = BatchStore(self._tables, self._handles)
        self.files = FileStore(self._tables, self._handles, blobs)
        self.history = HistoryStore(self._tables, self._handles)
        self.audit = AuditStore(self._tables, self._handles)
        self.deliveries = DeliveryStore(self._tables, self._handles)

    def _load_counts(self, key: bytes = b"counts") -> Counts:
        raw = self._tables["meta"].get(key)
        return Counts(by_status=decode_counts(raw) if raw else {})

    def counts_of(self, tenant: str) -> Counts:
        """The counts of a tenant's tasks."""
        counts = self._tenants.get(tenant)
        if counts is None:
            counts = self._tenants[tenant] = self._load_counts(TENANT + tenant.encode())
            if len(self._tenants) > MOST_TENANTS:
                self._drop_idle_tenant()
        return counts

    def _drop_idle_tenant(self) -> None:
        """Forget the counts read longest ago: they are on disk."""
        idle = next((name for name in self._tenants if name not in self._recounted), None)
        if idle is not None:
            del self._tenants[idle]

    def _write_tenants(self, batch: Changes) -> None:
        for tenant in self._recounted:
            counts, key = self._tenants[tenant].by_status, TENANT + tenant.encode()
            if any(any(levels.values()) for levels in counts.values()):
                batch.put(key, encode(counts), self._handles["meta"])
            else:
                batch.delete(key, self._handles["meta"])
        self._recounted.clear()

    @abstractmethod
    def _changes(self) -> Any:
        """A new, empty `Changes`."""

    @abstractmethod
    def _commit(self, batch: Any) -> None:
        """Apply these `Changes`, without making them durable."""

    @abstractmethod
    def written(self) -> Any:
        """What `sync` would make durable now."""

    @abstractmethod
    def sync(self, written: Any) -> None:
        """Make it durable. May be called in another thread."""

    @abstractmethod
    def tidy(self) -> None:
        """Do optional maintenance. May be called in another thread."""

    @abstractmethod
    def take_snapshot(self) -> str:
        """Copy the whole store beside itself, and return the copy's folder.

        To be called in the thread that removes the bytes of deleted files. Raises plain `Exception`
        for disk errors, and once `is_closing` is set.
        """

    @abstractmethod
    def why_gone(self) -> str | None:
        """Why the opened store is no longer there, as a sentence; None if it is."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. No other method may be called afterwards."""

    @property
    def unwritten_bytes(self) -> int:
        """The size of what is committed and stays in memory until `sync`."""
        return 0

    # --- writing --------------------------------------------------------------------------------

    def write(self, group: CommitGroup, yield_control: YieldControl = never_yield) -> None:
        """Write without sync, in slices; `sync` makes them durable."""
        batch = self._changes()
        for delivery in group.new_deliveries:  # never after the change that they tell of
            self.deliveries.add(batch, delivery)
        for name, value in group.flags.items():
            batch.put(b"flag:" + name.encode(), b"1" if value else b"0", self._handles["meta"])
        self.audit.put(batch, group.audit)  # first: never a change without its entry
        for key in group.dropped_keys:
            batch.delete(b"k" + key, self._handles["index"])
        for key, use in group.idempotency_keys.items():
            batch.put(b"k" + key, encode(use), self._handles["index"])
        for batch_id, new in group.batches.items():
            if new is None:
                self.batches.delete(batch, batch_id)
            else:
                self.batches.put(batch, new)
        for sealed in group.sealed:
            self.batches.seal(batch, sealed)
            for (level, tenant), count in sealed.tasks.levels.items():
                self._count_at(Status.PENDING, level, count, tenant)
        for record in group.removed.values():
            self._remove(batch, record)
            self._count_at(record.status, record.priority, -1, record.tenant)
        self.batches.tally(batch, group.rows.values(), group.removed.values(), group.jobs)
        for row in cooperatively(group.rows.values(), yield_control):
            self._put(batch, row)
            self._move_count(row.was, row.record)
            if batch.size_in_bytes() + row.size >= SLICE_BYTES:
                self._write(batch, yield_control, row)
                batch = self._changes()
            else:
                self._put_parts(batch, row)
        for cron_id, cron in group.crons.items():
            self._put_cron(batch, cron_id, cron)
        meta = self._handles["meta"]
        for name, access_key in group.access_keys.items():
            if access_key is None:
                batch.delete(ACCESS + name.encode(), meta)
            else:
                batch.put(ACCESS + name.encode(), encode(access_key), meta)
        for tenant, usage in group.usages.items():
            batch.put(USED + tenant.encode(), encode(usage), meta)
        for file_id, file in group.files.items():
            self.files.put(batch, file_id, file)
        for delivery_id, changed in group.deliveries.items():
            if changed is None:
                self.deliveries.delete(batch, delivery_id)
            else:
                self.deliveries.change(batch, changed)
        for call_key, call in group.calls.items():
            if call is None:
                batch.delete(call_key.encode(), self._handles["calls"])
                batch.delete(call_key.encode(), self._handles["ends"])
            else:
                batch.put(call_key.encode(), encode(call), self._handles["calls"])
        self._write(batch, yield_control)

    def _write(
        self, batch: Changes, yield_control: YieldControl, row: TaskWrite | None = None
    ) -> None:
        """Apply the changes, with the parts of `row`. These come last, and each step may yield:
        they can be large, and what is put behind them copies them."""
        batch.put(b"counts", encode(self.counts.by_status), self._handles["meta"])
        if self._recounted:
            self._write_tenants(batch)
        if row is not None:
            self._put_parts(batch, row)
            yield_control()
        self._commit(batch)

    def _put_parts(self, batch: Changes, row: TaskWrite) -> None:
        """Put what one task asks, and its result, if they are new."""
        task_id = row.record.id.encode()
        if row.spec is not None:
            batch.put(task_id, row.spec, self._handles["specs"])
        if row.result is not None:
            batch.put(task_id, row.result, self._handles["results"])

    def _put(self, batch: Changes, row: TaskWrite) -> bytes:
        """Put the rest of one task's part of a group. Returns its encoded record."""
        record, was, handles = row.record, row.was, self._handles
        task_id = record.id.encode()
        put_rows(batch, handles["index"], record, was)
        written = encode(record)
        batch.put(task_id, written, handles["tasks"])
        if row.spec is not None and record.key is not None:
            keyed = KeyUse(record.id, row.body, record.created_at.timestamp())
            batch.put(b"k" + record.key, encode(keyed), handles["index"])
        if row.cron is not None:
            self._put_cron(batch, row.cron.id, row.cron)
        return written

    def _put_cron(self, batch: Changes, cron_id: str, cron: Cron | None) -> None:
        if cron is None:
            batch.delete(cron_id.encode(), self._handles["crons"])
        else:
            batch.put(cron_id.encode(), encode_cron(cron), self._handles["crons"])

    def _remove(self, batch: Changes, record: Record) -> None:
        task_id = record.id.encode()
        for name in WHOLE:
            batch.delete(task_id, self._handles[name])
        delete_rows(batch, self._handles["index"], record)

    def write_slice(
        self,
        batch_id: str,
        rows: list[TaskWrite],
        tasks: HiddenTasks,
        yield_control: YieldControl = never_yield,
    ) -> None:
        """Write part of a batch. It does not count until the batch is sealed."""
        batch = self._changes()
        self.batches.begin(batch, batch_id)
        for row in rows:
            tasks.add(row.record, self._put(batch, row))
        for row in cooperatively(rows, yield_control):
            self._put_parts(batch, row)
        self._commit(batch)

    def add_history(self, parts: Iterable[MinuteTallies]) -> None:
        """Add counts to the rows of history; the next sync makes them durable."""
        batch = self._changes()
        self.history.add(batch, parts)
        self._commit(batch)

    def write_row(self, family: str, key: bytes, value: bytes) -> None:
        """Write a row that was read from another store, without making it durable."""
        batch = self._changes()
        batch.put(key, value, self._handles[family])
        self._commit(batch)

    def recount_audit(self) -> None:
        """Count the audit log anew, after entries have been written as rows."""
        batch = self._changes()
        self.audit.recount(batch)
        self._commit(batch)

    def write_key(self, key: bytes, owner: str, body: bytes, accepted_at: float) -> None:
        """Write what an idempotency key was used for, without making it durable."""
        self.write_row("index", b"k" + key, encode(KeyUse(owner, body, accepted_at)))

    def _drop_unfinished(self) -> None:
        """Delete what a crash left of batches that were never acknowledged, in portions: there may
        be a million tasks. A boot that is cut off in between leaves the rest to the next."""
        for batch_id in self.batches.unfinished():
            for records in self.batches.written_of(batch_id):
                batch = self._changes()
                for record in records:
                    self._remove(batch, record)
                self._commit(batch)
                if self.unwritten_bytes > _MOST_UNWRITTEN:
                    self.sync(self.written())
            batch = self._changes()
            self.batches.forget(batch, batch_id)
            self._commit(batch)

    def _drop_leftover_files(self) -> None:
        batch = self._changes()
        lost = self.files.drop_leftovers(batch)
        if lost:
            log.error("%d files are gone from the folder: %s", len(lost), ", ".join(lost[:10]))
            self._commit(batch)

    def _move_count(self, was: Record | None, record: Record) -> None:
        if was is not None:
            if was.status is record.status and was.priority == record.priority:
                return
            self._count_at(was.status, was.priority, -1, was.tenant)
        self._count_at(record.status, record.priority, +1, record.tenant)

    def _count_at(self, status: Status, level: int, step: int, tenant: str | None) -> None:
        self.counts.add(status, level, step)
        if tenant is not None:
            self.counts_of(tenant).add(status, level, step)
            self._recounted.add(tenant)

    # --- reading --------------------------------------------------------------------------------

    def record(self, task_id: str) -> Record | None:
        raw = self._tables["tasks"].get(task_id.encode())
        return None if raw is None else decode_record(raw)

    def spec(self, task_id: str) -> bytes | None:
        return self._tables["specs"].get(task_id.encode())

    def result(self, task_id: str) -> bytes | None:
        return self._tables["results"].get(task_id.encode())

    def whole(self, task_id: str) -> tuple[bytes | None, ...]:
        """The rows of a task in each of the families `WHOLE`, as of one moment."""
        return tuple(self._tables[name].get(task_id.encode()) for name in WHOLE)

    def cron(self, cron_id: str) -> Cron | None:
        raw = self._tables["crons"].get(cron_id.encode())
        return None if raw is None else decode_cron(raw)

    def crons(self) -> list[Cron]:
        """All crons, in the order of their ids."""
        return [decode_cron(raw) for _, raw in self._tables["crons"].between(b"", b"g")]

    def has_family(self, family: str) -> bool:
        return family in self._tables

    def row(self, family: str, key: bytes) -> bytes | None:
        """A row as it is stored; None for an unknown key."""
        return self._tables[family].get(key)

    def reading(self, read: Callable[[], T]) -> Callable[[], T]:
        """What to run in another thread in place of `read`, which reads from snapshots."""
        return read

    def held_snapshots(self, *names: str) -> tuple[tuple[Family, ...], Callable[[], None]]:
        """Snapshots as of this call for several reads in other threads, and what releases them."""
        return self.snapshots(*names), lambda: None

    def snapshots(self, *names: str) -> tuple[Family, ...]:
        """Snapshots of these column families, for reading in another thread."""
        return tuple(self._tables[name].snapshot() for name in names)

    def recover(self) -> Recovered:
        """Everything that a plan needs to start: pending and running tasks, keys, flags, crons."""
        cut: set[str] = set()
        if self.read_only:
            for batch_id in self.batches.unfinished():
                cut.update(self.batches.task_ids(batch_id))
        else:
            self._drop_unfinished()
            self._drop_leftover_files()
        index, meta = self._tables["index"], self._tables["meta"]
        flags = {key[5:].decode(): value == b"1" for key, value in meta.between(b"flag:", b"flag;")}
        newest = next(self._tables["tasks"].between(b"", b"g", backwards=True), None)
        last = decode_record(newest[1]) if newest else None
        return Recovered(
            waiting=[e for e in entries(index, Status.PENDING) if e.id not in cut],
            running=list(entries(index, Status.RUNNING)),
            keys=[(key[1:], decode_keyed(raw)) for key, raw in index.between(b"k", b"l")],
            flags=flags,
            last_us=instant_of(last.id) if last else 0,
            last_at=last.created_at.timestamp() if last else 0.0,
            crons=self.crons(),
            jobs=self.batches.unfinished_jobs(),
            access_keys=[decode_access_key(raw) for _, raw in meta.between(ACCESS, after(ACCESS))],
            usages={
                key[len(USED) :].decode(): decode_usage(raw)
                for key, raw in meta.between(USED, after(USED))
            },
            calls=self._assigned_calls(),
        )

    def _assigned_calls(self) -> list[AssignedCall]:
        """The calls that other servers make: of a queue in PostgreSQL."""
        calls = self._tables.get("calls")
        return [] if calls is None else [decode_call(raw) for _, raw in calls.between(b"", b"g")]


def no_task(task_id: str) -> NotFound:
    return NotFound(f"there is no task {task_id}", field="id")
