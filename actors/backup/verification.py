"""Checks every record of a closed store: all decode, and indexes and counts agree with them.

Reads each row once, and what it refers to; in memory are the counts, and what a row holds.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..core.model.entry import entry_of
from ..core.model.errors import Unavailable
from ..core.model.stats import Counts
from ..core.model.tasks import Record, Spec, Status
from ..store.encoding import (
    FAMILIES,
    LOADING,
    TENANT,
    Family,
    after,
    decode_batch,
    decode_counts,
    decode_cron,
    decode_entry,
    decode_file,
    decode_keyed,
    decode_record,
)
from ..store.indexes import rows_of
from ..store.migrations import FORMAT, count_tenant
from .faults import DROP, REPAIR, RESTORE, UPGRADE, Fault, Progress, no_progress
from .store_reader import StoreReader

ID_LENGTH = 36
REPORT_EACH = 1000  # rows
_END = b"\xff"  # after all keys: they are text
NO_COUNTS = b"\x80"  # an empty map in msgpack

decode_spec = msgspec.json.Decoder(Spec).decode
decode_json = msgspec.json.Decoder().decode


def check_records(folder: Path, progress: Progress = no_progress) -> Iterator[Fault]:
    """Check the store in a data folder or a backup."""
    try:
        opened = StoreReader(folder / "rocksdb")
    except Unavailable as error:
        yield Fault("rocksdb", error.message, RESTORE)
        return
    with opened as store:
        yield from RecordCheck(store, folder / "files", progress).faults()


def _decoded(raw: bytes) -> Record | None:
    """A task's record; None for a damaged one, which is reported where tasks are checked."""
    try:
        return decode_record(raw)
    except msgspec.DecodeError:
        return None


def _above_zero(counts: dict[str, dict[int, int]]) -> dict[tuple[str, int], int]:
    """The counts of statuses and priorities that have tasks."""
    return {
        (str(status), level): count
        for status, levels in counts.items()
        for level, count in levels.items()
        if count
    }


class RecordCheck:
    """One check of a store's records, and of the bytes of its files in the folder `blobs`."""

    def __init__(self, store: StoreReader, blobs: Path, progress: Progress) -> None:
        self._store, self._blobs, self._progress = store, blobs, progress
        self._counts: Counter[tuple[str, int]] = Counter()
        self._rows: Counter[str] = Counter()  # that tasks should have, by family
        self._hidden = set[str]()  # batches that a crash interrupted
        self._tenants = dict[str, Counts]()
        self._total = 0

    def faults(self) -> Iterator[Fault]:
        known, missing = self._store.format, set(FAMILIES) - self._store.families.keys()
        if not 1 <= known <= FORMAT:
            yield Fault("meta", f"has format {known}, this version reads {FORMAT}", UPGRADE)
            return
        if missing and known == FORMAT:
            for name in sorted(missing):
                yield Fault(name, "is missing", RESTORE)
            return
        checks = [self._meta, self._tasks, self._batches, self._crons, self._files, self._others]
        if known == FORMAT:  # else the next start writes the rows anew
            checks += [self._index, self._keys]
        for check in checks:
            try:
                yield from check()
            except Exception as error:  # rocksdict raises no narrower type
                yield Fault(check.__name__.strip("_"), f"a table is damaged: {error}", RESTORE)

    # --- reading --------------------------------------------------------------------------------

    def _family(self, name: str) -> Family:
        return self._store.families[name]

    def _each(
        self, name: str, start: bytes = b"", end: bytes = _END
    ) -> Iterator[tuple[bytes, bytes]]:
        for count, row in enumerate(self._store.rows(name, start, end)):
            if count % REPORT_EACH == 0:
                self._progress(name, count, self._total if name == "tasks" else 0)
            yield row

    # --- checks ---------------------------------------------------------------------------------

    def _meta(self) -> Iterator[Fault]:
        meta = self._family("meta")
        self._hidden = {
            key[len(LOADING) :].decode() for key, _ in meta.between(LOADING, after(LOADING))
        }
        try:
            stored = decode_counts(meta.get(b"counts") or NO_COUNTS)
            self._total = sum(sum(levels.values()) for levels in stored.values())
        except msgspec.DecodeError as error:
            yield Fault("meta counts", f"cannot be decoded: {error}", REPAIR)

    def _tasks(self) -> Iterator[Fault]:
        specs, results, index = (self._family(name) for name in ("specs", "results", "index"))
        is_indexed = self._store.format == FORMAT
        for key, raw in self._each("tasks"):
            where = f"task {key.decode(errors='replace')}"
            try:
                record = decode_record(raw)
            except msgspec.DecodeError as error:
                yield Fault(where, f"its record cannot be decoded: {error}", DROP)
                continue
            if record.id.encode() != key:
                yield Fault(where, f"has the record of task {record.id}", DROP)
                continue
            yield from self._body(where, record, specs.get(key), results)
            if is_indexed:
                yield from self._task_rows(where, record, index)
            if record.batch_id not in self._hidden:
                self._counts[record.status.value, record.priority] += 1
                count_tenant(self._tenants, record)
        yield from self._totals()
        if is_indexed:
            yield from self._tenant_totals()
        for name in ("specs", "results"):
            yield from self._leftovers(name)

    def _body(
        self, where: str, record: Record, spec: bytes | None, results: Family
    ) -> Iterator[Fault]:
        if spec is None:
            yield Fault(where, "what it asks is missing", DROP)
        else:
            self._rows["specs"] += 1
            try:
                decode_spec(spec)
            except msgspec.DecodeError as error:
                yield Fault(where, f"what it asks cannot be decoded: {error}", RESTORE)
        result = results.get(record.id.encode())
        if result is not None:
            self._rows["results"] += 1
            try:
                decode_json(result)
            except msgspec.DecodeError as error:
                yield Fault(where, f"its result cannot be decoded: {error}", RESTORE)
        elif record.status is Status.COMPLETED:
            yield Fault(where, "its result is missing", RESTORE)

    def _task_rows(self, where: str, record: Record, index: Family) -> Iterator[Fault]:
        status_row, *others = rows_of(record)
        self._rows["index"] += 1 + len(others)
        raw = index.get(status_row)
        try:
            is_right = raw is not None and (
                raw == b"" if record.status.is_final else decode_entry(raw) == entry_of(record)
            )
        except msgspec.DecodeError:
            is_right = False
        if not is_right or any(index.get(row) is None for row in others):
            yield Fault(where, "its rows in the index are missing or wrong", REPAIR)

    def _totals(self) -> Iterator[Fault]:
        try:
            stored = decode_counts(self._family("meta").get(b"counts") or NO_COUNTS)
        except msgspec.DecodeError:
            return  # already reported
        by_status = _above_zero(stored)
        for status, level in sorted(by_status.keys() | self._counts.keys()):
            counted, noted = self._counts[status, level], by_status.get((status, level), 0)
            if counted != noted:
                what = f"{noted} {status} tasks of priority {level} are counted of {counted}"
                yield Fault("meta counts", what, REPAIR)

    def _tenant_totals(self) -> Iterator[Fault]:
        stored = {
            key[len(TENANT) :].decode(): raw
            for key, raw in self._each("meta", TENANT, after(TENANT))
        }
        for tenant in sorted(stored.keys() | self._tenants.keys()):
            counted = self._tenants.get(tenant, Counts()).by_status
            try:
                noted = decode_counts(stored.get(tenant, NO_COUNTS))
            except msgspec.DecodeError as error:
                yield Fault(f"counts of tenant {tenant}", f"cannot be decoded: {error}", REPAIR)
                continue
            if _above_zero(noted) != _above_zero(counted):
                yield Fault(f"counts of tenant {tenant}", "are not those of its tasks", REPAIR)

    def _leftovers(self, name: str) -> Iterator[Fault]:
        """What has no task. The tasks are looked up only if there are more rows than tasks."""
        if sum(1 for _ in self._each(name)) == self._rows[name]:
            return
        tasks = self._family("tasks")
        for key, _ in self._each(name):
            if tasks.get(key) is None:
                yield Fault(f"{name} {key.decode(errors='replace')}", "has no task", DROP)

    def _index(self) -> Iterator[Fault]:
        """Rows of tasks that are not there, or not as the row says."""
        count = sum(1 for key, _ in self._each("index") if not key.startswith(b"k"))
        if count == self._rows["index"]:
            return
        tasks = self._family("tasks")
        for key, _ in self._each("index"):
            if key.startswith(b"k"):
                continue
            raw = tasks.get(key[-ID_LENGTH:])
            record = None if raw is None else _decoded(raw)
            if record is None or key not in rows_of(record):
                where = f"index {key.decode(errors='replace')}"
                yield Fault(where, "has no such task", REPAIR)

    def _keys(self) -> Iterator[Fault]:
        for key, raw in self._each("index", b"k", b"l"):
            try:
                decode_keyed(raw)
            except msgspec.DecodeError as error:
                yield Fault(f"idempotency key {key[1:].hex()}", f"cannot be decoded: {error}", DROP)

    def _batches(self) -> Iterator[Fault]:
        for key, raw in self._each("batches"):
            where = f"batch {key.decode(errors='replace')}"
            try:
                batch = decode_batch(raw)
            except msgspec.DecodeError as error:
                yield Fault(where, f"its record cannot be decoded: {error}", DROP)
                continue
            counted = self._members(key)
            wrong = [
                f"{getattr(batch, status)} {status} instead of {counted[status]}"
                for status in Status
                if getattr(batch, status) != counted[status]
            ]
            if wrong:
                yield Fault(where, f"counts {', '.join(wrong)}", REPAIR)

    def _members(self, batch_id: bytes) -> Counter[str]:
        tasks, prefix, counted = self._family("tasks"), b"b" + batch_id, Counter[str]()
        for key, _ in self._family("index").between(prefix, after(prefix)):
            raw = tasks.get(key[len(prefix) :])
            record = None if raw is None else _decoded(raw)
            if record is not None:
                counted[record.status] += 1
        return counted

    def _crons(self) -> Iterator[Fault]:
        for key, raw in self._each("crons"):
            try:
                decode_cron(raw)
            except msgspec.DecodeError as error:
                where = f"cron {key.decode(errors='replace')}"
                yield Fault(where, f"its record cannot be decoded: {error}", DROP)

    def _files(self) -> Iterator[Fault]:
        for key, raw in self._each("files"):
            where = f"file {key.decode(errors='replace')}"
            try:
                file = decode_file(raw)
                size = (self._blobs / file.id).stat().st_size
            except msgspec.DecodeError as error:
                yield Fault(where, f"its record cannot be decoded: {error}", DROP)
            except OSError:
                yield Fault(where, "its bytes are missing", RESTORE)
            else:
                if size != file.size:
                    yield Fault(where, f"has {size} bytes instead of {file.size}", RESTORE)

    def _others(self) -> Iterator[Fault]:
        """Read what this check does not interpret: RocksDB's checksums cover it."""
        for name in sorted(self._store.families.keys() - set(FAMILIES)):
            for _ in self._each(name):
                pass
        yield from ()
