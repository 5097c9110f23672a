"""Stores of older formats become ones of this format, when they are opened."""

from typing import Any

from rocksdict import Rdict, WriteBatch

from .encoding import STATUS_CODE, decode_record
from .indexes import put_rows
from .rocksdb_setup import key_range

# 1 had no rows to list tasks by priority, cron, start and end; in 2 the rows of tasks that wait or
# run held the words in which they failed last.
FORMAT = 3
SLICE_TASKS = 500


def upgrade(db: Rdict, families: dict[str, Rdict], handles: dict[str, Any]) -> None:
    """Write the rows of all tasks anew, slice by slice; a crash in between is made up for.

    From the first slice on an older version would misread the index: it finds a newer format.
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
