"""Upgrades a store of an older format when it is opened."""

from typing import Any

from rocksdict import Rdict, WriteBatch

from .encoding import STATUS_CODE, decode_record
from .indexes import put_rows
from .rocksdb_setup import key_range

# Format 1 had no rows to list tasks by priority, cron, start and end; in format 2 the rows of
# pending and running tasks contained their last error.
FORMAT = 3
SLICE_TASKS = 500


def upgrade(db: Rdict, families: dict[str, Rdict], handles: dict[str, Any]) -> None:
    """Rewrite the rows of all tasks, slice by slice; the next open resumes after a crash.

    The new format is written first: an older version would misread the index from then on.
    """
    meta = families["meta"]
    if meta.get(b"format") in (b"1", b"2"):
        begin = WriteBatch(raw_mode=True)
        begin.put(b"format", b"%d" % FORMAT, handles["meta"])
        begin.put(b"upgrading", b"1", handles["meta"])
        db.write(begin)
    if meta.get(b"upgrading") is None:
        return
    batch = WriteBatch(raw_mode=True)
    for count, (key, raw) in enumerate(key_range(families["tasks"].iter, b"", b"g"), 1):
        record = decode_record(raw)
        batch.delete(STATUS_CODE[record.status] + key, handles["index"])
        put_rows(batch, handles["index"], record, None)
        if count % SLICE_TASKS == 0:
            db.write(batch)
            batch = WriteBatch(raw_mode=True)
    batch.delete(b"upgrading", handles["meta"])
    db.write(batch)
