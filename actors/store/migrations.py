"""Upgrades a store of an older format when it is opened."""

from typing import Any

from rocksdict import Rdict, WriteBatch

from ..core.model.stats import Counts
from ..core.model.tasks import Record
from .encoding import STATUS_CODE, TENANT, decode_record, encode
from .indexes import put_rows
from .rocksdb_setup import key_range

# Format 1 had no rows to list tasks by priority, cron, start and end; in format 2 the rows of
# pending and running tasks contained their last error; format 3 had no rows and counts of tenants.
FORMAT = 4
SLICE_TASKS = 500


def upgrade(db: Rdict, families: dict[str, Rdict], handles: dict[str, Any]) -> None:
    """Rewrite the rows of all tasks, slice by slice; the next open resumes after a crash.

    The new format is written first: an older version would misread the index from then on.
    """
    meta = families["meta"]
    if meta.get(b"format") in (b"1", b"2", b"3"):
        begin = WriteBatch(raw_mode=True)
        begin.put(b"format", b"%d" % FORMAT, handles["meta"])
        begin.put(b"upgrading", b"1", handles["meta"])
        db.write(begin)
    if meta.get(b"upgrading") is None:
        return
    batch, tenants = WriteBatch(raw_mode=True), dict[str, Counts]()
    for count, (key, raw) in enumerate(key_range(families["tasks"].iter, b"", b"g"), 1):
        record = decode_record(raw)
        batch.delete(STATUS_CODE[record.status] + key, handles["index"])
        put_rows(batch, handles["index"], record, None)
        count_tenant(tenants, record)
        if count % SLICE_TASKS == 0:
            db.write(batch)
            batch = WriteBatch(raw_mode=True)
    for tenant, counts in tenants.items():
        batch.put(TENANT + tenant.encode(), encode(counts.by_status), handles["meta"])
    batch.delete(b"upgrading", handles["meta"])
    db.write(batch)


def count_tenant(tenants: dict[str, Counts], record: Record) -> None:
    """Count a task among those of its tenant."""
    if record.tenant is not None:
        counts = tenants.setdefault(record.tenant, Counts())
        counts.add(record.status, record.priority, 1)
