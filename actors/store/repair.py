"""Makes a store's column families consistent again after an accepted loss.

RocksDB writes each family from the journal to tables at its own time. When part of the journal is
missing, a task may have a record and no spec, index rows and no record, or be counted but missing.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from rocksdict import Rdict, WriteBatch

from ..core.model.stats import Counts
from ..core.model.tasks import Status
from .encoding import (
    TENANT,
    after,
    decode_batch,
    decode_cron,
    decode_file,
    decode_keyed,
    decode_record,
    encode,
)
from .indexes import put_rows
from .migrations import count_tenant
from .rocksdb_setup import key_range

SLICE_BYTES = 1 << 20
T = TypeVar("T")
_END = b"\xff"  # after all keys: they are text


class Repair:
    """Keeps each task that has a record and a spec; rebuilds or deletes everything else."""

    def __init__(self, db: Rdict, families: dict[str, Rdict], handles: dict[str, Any]) -> None:
        self.db, self.families, self.handles = db, families, handles
        self.batch = WriteBatch(raw_mode=True)

    def run(self) -> None:
        kept: set[bytes] = set()
        levels: Counter[tuple[Status, int]] = Counter()
        batches: Counter[tuple[str, Status]] = Counter()
        tenants: dict[str, Counts] = {}
        for key, _ in key_range(self.families["index"].iter, b"", _END):
            if not key.startswith(b"k"):
                self.delete("index", key)
        for key, raw in key_range(self.families["tasks"].iter, b"", _END):
            if self.families["specs"].get(key) is None:
                self.delete("tasks", key)
                continue
            record = self.decoded("tasks", key, raw, decode_record)
            if record is None:
                continue
            kept.add(key)
            levels[record.status, record.priority] += 1
            batches[record.batch_id or "", record.status] += 1
            count_tenant(tenants, record)
            put_rows(self.batch, self.handles["index"], record, None)
            self.write(SLICE_BYTES)
        self.drop_leftovers(kept)
        self.drop_damaged()
        self.count_batches(batches)
        self.count_all(levels)
        self.count_tenants(tenants)
        self.drop_keys(kept)
        self.write(0)

    def drop_leftovers(self, kept: set[bytes]) -> None:
        for name in ("specs", "results"):
            for key, _ in key_range(self.families[name].iter, b"", _END):
                if key not in kept:
                    self.delete(name, key)

    def count_batches(self, counts: Counter[tuple[str, Status]]) -> None:
        for key, raw in key_range(self.families["batches"].iter, b"", _END):
            batch = self.decoded("batches", key, raw, decode_batch)
            if batch is None:
                continue
            batch = replace(batch, **{status.value: counts[batch.id, status] for status in Status})
            if batch.held or batch.job is not None:
                self.batch.put(key, encode(batch), self.handles["batches"])
            else:
                self.delete("batches", key)

    def count_all(self, levels: Counter[tuple[Status, int]]) -> None:
        by_status: dict[str, dict[int, int]] = {}
        for (status, priority), count in levels.items():
            by_status.setdefault(status.value, {})[priority] = count
        self.batch.put(b"counts", encode(by_status), self.handles["meta"])

    def count_tenants(self, tenants: dict[str, Counts]) -> None:
        for key, _ in key_range(self.families["meta"].iter, TENANT, after(TENANT)):
            self.batch.delete(key, self.handles["meta"])
        for tenant, counts in tenants.items():
            written = encode(counts.by_status)
            self.batch.put(TENANT + tenant.encode(), written, self.handles["meta"])

    def drop_keys(self, kept: set[bytes]) -> None:
        """Drop the idempotency keys of missing tasks: submitting again creates a new task."""
        self.write(0)
        for key, raw in key_range(self.families["index"].iter, b"k", b"l"):
            use = self.decoded("index", key, raw, decode_keyed)
            owner = b"" if use is None else use.task_id.encode()
            if owner not in kept and self.families["batches"].get(owner) is None:
                self.delete("index", key)

    def drop_damaged(self) -> None:
        self.drop_undecodable("crons", decode_cron)
        self.drop_undecodable("files", decode_file)

    def drop_undecodable(self, family: str, decode: Callable[[bytes], object]) -> None:
        for key, raw in key_range(self.families[family].iter, b"", _END):
            self.decoded(family, key, raw, decode)

    def decoded(
        self, family: str, key: bytes, raw: bytes, decode: Callable[[bytes], T]
    ) -> T | None:
        """Decode a record; delete it, and return None, if it is damaged."""
        try:
            return decode(raw)
        except msgspec.DecodeError:
            self.delete(family, key)
            return None

    def delete(self, family: str, key: bytes) -> None:
        self.batch.delete(key, self.handles[family])
        self.write(SLICE_BYTES)

    def write(self, size: int) -> None:
        """Write the gathered changes if they are at least `size` bytes."""
        if self.batch.size_in_bytes() >= size:
            self.db.write(self.batch)
            self.batch = WriteBatch(raw_mode=True)
