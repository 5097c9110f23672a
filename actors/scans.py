"""Reading pages of the list of tasks."""

import heapq
from collections.abc import Callable, Iterator
from itertools import islice

from rocksdict import Snapshot

from ollama_queue.actors.core.listing import TaskFilter
from ollama_queue.actors.core.records import Record
from ollama_queue.actors.layout import STATUS_CODE, after, decode_record, key_range


def scan(
    snapshots: tuple[Snapshot, Snapshot], wanted: TaskFilter, hidden: frozenset[str] = frozenset()
) -> Callable[[], list[Record]]:
    """How to read a page of records, newest first; it touches RocksDB only and may run anywhere.

    Tasks of `hidden` batches are left out.

    The iterators are made at once: one that a snapshot (rocksdict 0.3.29) makes later shows what
    was written meanwhile, though its look-ups do not.
    """
    index, tasks = snapshots
    page = slice(wanted.offset, wanted.offset + wanted.limit)
    if not wanted.status:
        found = key_range(tasks.iter, b"", b"g", backwards=True)
        records = (decode_record(raw) for _, raw in found)
        return lambda: list(islice(_seen(records, hidden), page.start, page.stop))
    codes = [STATUS_CODE[status] for status in dict.fromkeys(wanted.status)]
    by_status = [
        (key[2:] for key, _ in key_range(index.iter, code, after(code), backwards=True))
        for code in codes
    ]
    newest_first = heapq.merge(*by_status, reverse=True)
    if not hidden:
        keys = islice(newest_first, page.start, page.stop)
        return lambda: [decode_record(tasks[key]) for key in keys]
    records = (decode_record(tasks[key]) for key in newest_first)
    return lambda: list(islice(_seen(records, hidden), page.start, page.stop))


def _seen(records: Iterator[Record], hidden: frozenset[str]) -> Iterator[Record]:
    """Without those of batches that are not there yet."""
    return (record for record in records if record.batch_id not in hidden)
