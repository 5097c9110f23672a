"""The store: how records lie in RocksDB. Only Persistence uses it."""

from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

from rocksdict import Rdict, Snapshot, WriteBatch, WriteOptions

from ..base.cooperation import YieldControl, cooperatively, never_yield
from ..core.messages.replies import Recovered
from ..core.model.crons import Cron
from ..core.model.entry import KeyUse
from ..core.model.errors import QueueError, Unavailable
from ..core.model.stats import Counts
from ..core.model.tasks import Record, Status
from ..files.data_folder import DataFolder
from ..files.free_space import has_free_space
from ..files.ownership import claim, sign, unsign, why_not
from .batches import BatchStore
from .commit_group import CommitGroup, HiddenTasks, TaskWrite
from .encoding import (
    FAMILIES,
    decode_counts,
    decode_cron,
    decode_keyed,
    decode_record,
    encode,
    encode_cron,
    entries,
    key_range,
)
from .indexes import delete_rows, put_rows
from .migrations import FORMAT, upgrade
from .repair import Repair
from .rocksdb_setup import MERGE_BYTES, abandon, merge_small_tables, open_rocksdb
from .sentinel import Sentinel, SyncedState, check_changes, check_files

SLICE_BYTES = 1 << 20  # a larger WriteBatch would hold the interpreter for too long


class Store:
    """One RocksDB and who owns it. Methods raise plain `Exception` for what the disk does."""

    def __init__(
        self,
        folder: str,
        url: str | None,
        *,
        read_only: bool = False,
        place: DataFolder | None = None,
    ) -> None:
        """Open or create. Raises `Unavailable` with a sentence when it cannot be had.

        With `read_only` nothing is written, and it is open beside whoever writes it. `place` is the
        folder, where somebody holds on to it from one opening to the next.
        """
        self.place, self._is_mine = place or DataFolder(folder), place is None
        self.folder = self.place.folder
        self.read_only = read_only
        self._families: dict[str, Rdict] = {}
        self._handles: dict[str, Any] = {}
        self._sentinel: Sentinel | None = None
        self._db = self._open()
        try:
            self._families = {name: self._db.get_column_family(name) for name in FAMILIES}
            self._handles = {name: self._db.get_column_family_handle(name) for name in FAMILIES}
            self.batches = BatchStore(self._families, self._handles)
            self.boot = self._last_boot() if read_only else self._begin()
            if not read_only:
                sign(self.folder, url)
                self._watch()
        except BaseException as error:
            with suppress(Exception):  # a disk that took no write may not close either
                self.close()
            if isinstance(error, QueueError) or not isinstance(error, Exception):
                raise
            raise Unavailable(why_not(self.folder, str(error))) from None
        self.counts = self._load_counts()
        self._no_sync = WriteOptions()

    # --- life -----------------------------------------------------------------------------------

    def _open(self) -> Rdict:
        claim()
        try:
            self.place.claim()
            self._noted = None if self.read_only else check_files(self.place)
            self.place.claim_rocks()
            return open_rocksdb(self.place.rocks, read_only=self.read_only)
        except Exception as error:  # rocksdict raises nothing more special
            self._let_go()
            if isinstance(error, QueueError):
                raise
            raise Unavailable(why_not(self.folder, str(error))) from None

    def _let_go(self) -> None:
        if self._is_mine:
            self.place.close()

    def _watch(self) -> None:
        """From now on note what is acknowledged."""
        self.place.narrow_files()
        self._sentinel = Sentinel(self.place, self._id, self._db.latest_sequence_number())
        # What is lost from now on is asked about again.
        self.place.accepts_loss = self.place.has_lost = False

    def _begin(self) -> int:
        """Check the format and count this boot; both are durable before anything else is."""
        meta = self._families["meta"]
        known = int(meta.get(b"format") or FORMAT)
        if not 1 <= known <= FORMAT:
            raise Unavailable(
                f"the store in {self.folder} has format {known}, this version reads "
                f"{FORMAT}: use the version that wrote it"
            )
        self._id = (meta.get(b"id") or uuid4().hex.encode()).decode()
        check_changes(self.place, self._noted, self._id, self._db.latest_sequence_number())
        upgrade(self._db, self._families, self._handles)
        if self.place.has_lost:
            Repair(self._db, self._families, self._handles).run()
        boot = self._last_boot() + 1
        batch = WriteBatch(raw_mode=True)
        batch.put(b"format", b"%d" % FORMAT, self._handles["meta"])
        batch.put(b"boot", b"%d" % boot, self._handles["meta"])
        batch.put(b"id", self._id.encode(), self._handles["meta"])
        self._db.write(batch)
        self._db.flush_wal(True)
        return boot

    def _last_boot(self) -> int:
        return int(self._families["meta"].get(b"boot") or b"0")

    def _load_counts(self) -> Counts:
        raw = self._families["meta"].get(b"counts")
        return Counts(by_status=decode_counts(raw) if raw else {})

    def close(self) -> None:
        """Let go of the lock: families first, RocksDB keeps it while any of them lives."""
        changes = self._db.latest_sequence_number()
        families = [*self._families.values(), self._db]
        self._families.clear()
        self._handles.clear()
        sentinel, self._sentinel = self._sentinel, None
        with ExitStack() as all_of_them:  # after a failed write each may raise, and yet closes
            all_of_them.callback(self._let_go)
            if sentinel is not None:
                all_of_them.callback(sentinel.close)
            if self.place.is_replaced():
                abandon(self._db, families)
                return
            if not self.read_only:
                unsign(self.folder)
            closing = all_of_them.enter_context(ExitStack())
            for family in reversed(families):
                closing.callback(family.close)
            closing.close()
            if sentinel is not None:
                sentinel.end(changes)
                self.place.narrow_files()

    # --- writing --------------------------------------------------------------------------------

    def write(self, group: CommitGroup, yield_control: YieldControl = never_yield) -> None:
        """Write without sync, in slices; `sync` makes them durable."""
        batch = WriteBatch(raw_mode=True)
        for name, value in group.flags.items():
            batch.put(b"flag:" + name.encode(), b"1" if value else b"0", self._handles["meta"])
        for key in group.dropped_keys:
            batch.delete(b"k" + key, self._handles["index"])
        for sealed in group.sealed:
            self.batches.seal(batch, sealed)
            for level, count in sealed.tasks.levels.items():
                self._count_at(Status.PENDING, level, count)
        for record in group.removed.values():
            self._remove(batch, record)
            self._count(record, -1)
        self.batches.tally(batch, group.rows.values(), group.removed.values())
        for row in cooperatively(group.rows.values(), yield_control):
            self._put(batch, row)
            self._count(row.was, -1)
            self._count(row.record, +1)
            if batch.size_in_bytes() >= SLICE_BYTES:
                self._write(batch)
                batch = WriteBatch(raw_mode=True)
        for cron_id, cron in group.crons.items():
            self._put_cron(batch, cron_id, cron)
        self._write(batch)

    def _write(self, batch: WriteBatch) -> None:
        batch.put(b"counts", encode(self.counts.by_status), self._handles["meta"])
        self._db.write(batch, self._no_sync)

    def _put(self, batch: WriteBatch, row: TaskWrite) -> bytes:
        """Returns the task's record as it is written."""
        record, was, handles = row.record, row.was, self._handles
        task_id = record.id.encode()
        put_rows(batch, handles["index"], record, was)
        written = encode(record)
        batch.put(task_id, written, handles["tasks"])
        if row.spec is not None:
            batch.put(task_id, row.spec, handles["specs"])
            if record.key is not None:
                keyed = KeyUse(record.id, row.body, record.created_at.timestamp())
                batch.put(b"k" + record.key, encode(keyed), handles["index"])
        if row.result is not None:
            batch.put(task_id, row.result, handles["results"])
        if row.cron is not None:
            self._put_cron(batch, row.cron.id, row.cron)
        return written

    def _put_cron(self, batch: WriteBatch, cron_id: str, cron: Cron | None) -> None:
        if cron is None:
            batch.delete(cron_id.encode(), self._handles["crons"])
        else:
            batch.put(cron_id.encode(), encode_cron(cron), self._handles["crons"])

    def _remove(self, batch: WriteBatch, record: Record) -> None:
        task_id = record.id.encode()
        for name in ("specs", "tasks", "results"):
            batch.delete(task_id, self._handles[name])
        delete_rows(batch, self._handles["index"], record)

    def write_slice(self, batch_id: str, rows: list[TaskWrite], tasks: HiddenTasks) -> None:
        """Write a part of a batch, which does not count before the batch is sealed."""
        batch = WriteBatch(raw_mode=True)
        self.batches.begin(batch, batch_id)
        for row in rows:
            tasks.add(row.record, self._put(batch, row))
        self._db.write(batch, self._no_sync)

    def _drop_unfinished(self) -> None:
        """Delete what a crash has left of batches that were never acknowledged."""
        for batch_id, records in self.batches.unfinished():
            batch = WriteBatch(raw_mode=True)
            for record in records:
                self._remove(batch, record)
            self.batches.forget(batch, batch_id)
            self._db.write(batch, self._no_sync)

    def _count(self, record: Record | None, step: int) -> None:
        if record is not None:
            self._count_at(record.status, record.priority, step)

    def _count_at(self, status: Status, level: int, step: int) -> None:
        levels = self.counts.by_status.setdefault(status.value, {})
        levels[level] = levels.get(level, 0) + step

    def written(self) -> SyncedState:
        """What `sync` would make durable now.

        It is found out beforehand: in the thread that syncs, each call of the system would have to
        wait for its turn to go on.
        """
        assert self._sentinel is not None
        return self._sentinel.look(self._db.latest_sequence_number())

    def sync(self, written: SyncedState) -> None:
        """Make it durable, and note that it is; lets other threads run meanwhile.

        Raises `Unavailable` where that was in another folder than the one that was opened.
        """
        assert self._sentinel is not None
        self._db.flush_wal(True)
        self._sentinel.note(written)

    def tidy(self) -> None:
        """Make small tables few, where the disk has room for it; to be done aside."""
        if not self.read_only and has_free_space(str(self.folder), MERGE_BYTES):
            merge_small_tables(self._db, self._families)

    # --- reading --------------------------------------------------------------------------------

    def record(self, task_id: str) -> Record | None:
        raw = self._families["tasks"].get(task_id.encode())
        return None if raw is None else decode_record(raw)

    def spec(self, task_id: str) -> bytes | None:
        return self._families["specs"].get(task_id.encode())

    def result(self, task_id: str) -> bytes | None:
        return self._families["results"].get(task_id.encode())

    def snapshots(self, *names: str) -> tuple[Snapshot, ...]:
        """These column families as they are now, for what reads aside."""
        return tuple(self._families[name].snapshot() for name in names)

    def recover(self) -> Recovered:
        """What waits, what was running, and the rest that a plan needs. Raises `Unavailable`."""
        try:
            return self._recover()
        except Exception as error:  # rocksdict raises nothing more special
            raise Unavailable(why_not(self.folder, str(error))) from None

    def _recover(self) -> Recovered:
        hidden: dict[str, list[Record]] = {}
        if self.read_only:
            hidden = dict(self.batches.unfinished())
        else:
            self._drop_unfinished()
        cut = {record.id for records in hidden.values() for record in records}
        index, meta = self._families["index"], self._families["meta"]
        flags = {
            key[5:].decode(): value == b"1"
            for key, value in key_range(meta.iter, b"flag:", b"flag;")
        }
        newest = next(key_range(self._families["tasks"].iter, b"", b"g", backwards=True), None)
        last = decode_record(newest[1]).created_at.timestamp() if newest else 0.0
        return Recovered(
            waiting=[e for e in entries(index, Status.PENDING) if e.id not in cut],
            running=list(entries(index, Status.RUNNING)),
            keys=[(key[1:], decode_keyed(raw)) for key, raw in key_range(index.iter, b"k", b"l")],
            flags=flags,
            last_us=round(last * 1e6),
            crons=[
                decode_cron(raw) for _, raw in key_range(self._families["crons"].iter, b"", b"g")
            ],
            hidden=hidden,
        )
