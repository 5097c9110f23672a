"""Finds finished tasks whose retention is over."""

import heapq
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..core.messages import Delete, Expired, FindExpired
from .encoding import Family, after, decode_batch, decode_record
from .indexes import ENDED, FEW, LEAD, end_code, moment_key

if TYPE_CHECKING:
    from .task_store import TaskStore

SLICE_TASKS = 200


def find_expired(store: "TaskStore", command: FindExpired) -> Callable[[], Expired]:
    """Return a function that finds one slice of expired tasks, oldest end first.

    It may run in any thread, like a scan. Tasks of unfinished batches are skipped.
    """
    beyond = sum(map(store.counts.total, ENDED)) - command.keep - command.passed
    limit = "" if command.before is None else moment_key(command.before)
    index, tasks, batches = store.snapshots("index", "tasks", "batches")
    # Start after `after`: the rows before it are deleted by now, and slow to step over.
    starts = ((end_code(status), command.after.encode()) for status in ENDED)
    ranges = [index.between(code + place, after(code)) for code, place in starts]
    places = heapq.merge(*(_places(rows) for rows in ranges))
    stays = _OpenBatches(batches)

    def find() -> Expired:
        deletes: list[Delete] = []
        place, passed = command.after, command.passed
        for seen, place in enumerate((p for p in places if p != command.after), 1):
            if seen > beyond and place >= limit:
                return Expired(tuple(deletes), None)
            raw = tasks.get(place[LEAD["ended"] :].encode())
            assert raw is not None, "a row of a task that is not there"
            record = decode_record(raw)
            if record.batch_id is not None and record.batch_id in stays:
                passed += 1
            else:
                deletes.append(Delete(record.id, record.seq))
            if len(deletes) == SLICE_TASKS or seen == FEW:
                rest = replace(command, after=place, passed=passed)
                return Expired(tuple(deletes), rest)
        return Expired(tuple(deletes), None)

    return find


def _places(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[str]:
    return (key[2:].decode() for key, _ in rows)


class _OpenBatches:
    """The unfinished batches: someone may be waiting for all of their results."""

    def __init__(self, batches: Family) -> None:
        self._batches = batches
        self._known: dict[str, bool] = {}

    def __contains__(self, batch_id: str) -> bool:
        if batch_id not in self._known:
            raw = self._batches.get(batch_id.encode())
            self._known[batch_id] = raw is not None and not decode_batch(raw).is_settled
        return self._known[batch_id]
