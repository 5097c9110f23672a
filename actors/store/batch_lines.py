"""Reads the tasks of a batch in slices: all with their results, or those that have not ended."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..core.messages.replies import BatchLines, LiveTasks, StoredTask
from .encoding import after as behind
from .encoding import decode_record
from .families import Family

if TYPE_CHECKING:
    from .task_store import TaskStore

SLICE_BYTES = 1 << 20  # of requests and results
SLICE_LINES = 200
SLICE_ROWS = 2000  # of tasks that have ended


def lines_of(store: "TaskStore", batch_id: str, after: str) -> Callable[[], BatchLines]:
    """Return a function that reads a slice of a batch's lines, in their order, after the task
    `after`. It may run in any thread."""
    index, tasks, specs, results = store.snapshots("index", "tasks", "specs", "results")
    members = _members(index, batch_id, after)

    def read() -> BatchLines:
        lines: list[StoredTask] = []
        size = 0
        for key in members:
            raw, spec, result = tasks.get(key), specs.get(key), results.get(key)
            if raw is None or spec is None:
                continue
            lines.append(StoredTask(decode_record(raw), spec, result))
            size += len(spec) + len(result or b"")
            if len(lines) == SLICE_LINES or size >= SLICE_BYTES:
                return BatchLines(lines, key.decode())
        return BatchLines(lines, None)

    return read


def live_tasks_of(store: "TaskStore", batch_id: str, after: str) -> Callable[[], LiveTasks]:
    """Return a function that finds the next pending and running tasks of a batch, after the task
    `after`. It may run in any thread."""
    index, tasks = store.snapshots("index", "tasks")
    members = _members(index, batch_id, after)

    def find() -> LiveTasks:
        live: list[str] = []
        for seen, key in enumerate(members, 1):
            raw = tasks.get(key)
            if raw is not None and not decode_record(raw).status.is_final:
                live.append(key.decode())
            if len(live) == SLICE_LINES or seen == SLICE_ROWS:
                return LiveTasks(tuple(live), key.decode())
        return LiveTasks(tuple(live), None)

    return find


def _members(index: Family, batch_id: str, after: str) -> Iterator[bytes]:
    prefix = b"b" + batch_id.encode()
    start = prefix + after.encode() + b"\x00" if after else prefix
    return (key[len(prefix) :] for key, _ in index.between(start, behind(prefix)))
