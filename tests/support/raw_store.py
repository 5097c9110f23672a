"""Stores written directly, one commit group at a time."""

from pathlib import Path
from typing import Any

from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.page_reader import scan
from ollama_queue.actors.store.rocksdb import Store
from tests.support.recorders import a_record

PENDING, RUNNING = Status.PENDING, Status.RUNNING


def group(*rows: TaskWrite) -> CommitGroup:
    """A commit group: rows that one fsync makes durable."""
    made = CommitGroup()
    made.rows |= {row.record.id: row for row in rows}
    return made


def write(store: Store, *records: Record, was: Record | None = None) -> None:
    spec = None if was else b"{}"
    store.write(group(*(TaskWrite(record, was, spec, None, b"body") for record in records)))
    store.sync(store.written())


def filled(folder: Path, count: int) -> None:
    """Write a closed store of `count` tasks, all moved from the journal into tables."""
    store = Store(str(folder), None)
    write(store, *(a_record(number) for number in range(count)))
    store.close()
    Store(str(folder), None).close()  # opening moves the journal into tables


def listed(store: Store, **wanted: Any) -> list[int]:
    read = scan(store, TaskFilter(**wanted))
    return [int(record.id, 16) for record in read().records]
