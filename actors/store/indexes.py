"""The index rows that lists are read from: keeping them in step with tasks, and choosing rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from msgspec import Struct

from ..core.model.entry import entry_of
from ..core.model.ids import mint
from ..core.model.stats import Counts
from ..core.model.task_filter import Sort, TaskFilter, WaitReasons
from ..core.model.tasks import Batch, Record, Status
from .encoding import STATUS_CODE, Changes, after, encode

FEW = 2000  # rows that one read may scan without a match
ENDED = tuple(status for status in Status if status.is_final)
LEAD: dict[Sort, int] = {"created": 0, "priority": 1, "started": 14, "ended": 14}
"""The length of the sort value that precedes the task's id in a row's position."""

_LEVELS = [b"%x" % priority for priority in range(16)]
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_ID_LENGTH = 36
_WITH_VALUES = (
    "status", "type", "priority", "model", "batch_id", "cron_id", "tenant", "tag", "q",
    "waiting_for", "error_code", "failure",
)  # fmt: skip


# --- writing ------------------------------------------------------------------------------------


def put_rows(batch: Changes, index: Any, record: Record, was: Record | None) -> None:
    """Write a task's rows along with its record; `was` is None for a new task."""
    entry = b"" if record.status.is_final else encode(entry_of(record))
    batch.put(_status_row(record), entry, index)
    if was is None:
        owner = record.batch_id or record.cron_id or record.tenant
        if owner or record.started_at or record.completed_at:
            for row in _other_rows(record):
                batch.put(row, b"", index)
        return
    if was.status is not record.status or was.priority != record.priority:
        batch.delete(_status_row(was), index)
    if was.started_at is not record.started_at:
        _move(batch, index, _started_row(was), _started_row(record))
    if was.completed_at is not record.completed_at:
        _move(batch, index, _ended_row(was), _ended_row(record))


def rows_of(record: Record) -> list[bytes]:
    """All rows that a task should have, that of its status first."""
    return [_status_row(record), *_other_rows(record)]


def delete_rows(batch: Changes, index: Any, record: Record) -> None:
    for row in rows_of(record):
        batch.delete(row, index)


def _move(batch: Changes, index: Any, old: bytes | None, new: bytes | None) -> None:
    if old == new:
        return
    if old is not None:
        batch.delete(old, index)
    if new is not None:
        batch.put(new, b"", index)


def _other_rows(record: Record) -> list[bytes]:
    """All rows but that of its status."""
    rows = [row for row in (_started_row(record), _ended_row(record)) if row is not None]
    if record.batch_id is not None:
        rows.append(f"b{record.batch_id}{record.id}".encode())
    if record.cron_id is not None:
        rows.append(f"c{record.cron_id}{record.id}".encode())
    if record.tenant is not None:
        rows.append(tenant_prefix(record.tenant) + record.id.encode())
    return rows


@lru_cache(maxsize=1024)
def tenant_prefix(tenant: str) -> bytes:
    """What a tenant's rows begin with: a name of any length would end in another one's."""
    return b"n" + sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32].encode()


def _status_row(record: Record) -> bytes:
    return STATUS_CODE[record.status] + _LEVELS[record.priority] + record.id.encode()


def _started_row(record: Record) -> bytes | None:
    at = record.started_at
    return None if at is None else f"t{moment_key(at)}{record.id}".encode()


def _ended_row(record: Record) -> bytes | None:
    at = record.completed_at
    if at is None:
        return None
    return end_code(record.status) + f"{moment_key(at)}{record.id}".encode()


def end_code(status: Status) -> bytes:
    return b"e" + STATUS_CODE[status][1:]


def moment_key(at: datetime) -> str:
    """A time as it is written in a row: its microseconds since 1970."""
    return f"{int(at.timestamp() * 1e6):014x}"


# --- choosing -----------------------------------------------------------------------------------


class KeyRange(Struct, frozen=True):
    """Rows in [start, end). A key after its first `cut` bytes is its position in the sort order."""

    start: bytes
    end: bytes
    cut: int


class ReadPlan(Struct, frozen=True):
    """What to read a list from: index rows, or with None the tasks themselves.

    Ids are in [low, high). `is_exact`: every row belongs to a matching task.
    """

    stretches: list[KeyRange] | None
    low: str
    high: str
    is_exact: bool


def choose(task_filter: TaskFilter, counts: Counts, before: str) -> ReadPlan:
    """Choose what to read, backwards from the position `before` (empty: from the end).

    Sorted by creation, an index of the filter's values is used if there is one: that of the
    status if it leaves few tasks, else of the batch, the cron, the tenant or the status. Other
    sorts have an index of their own; all filters but the status (and, sorted by priority, the
    priority) are then checked task by task.
    """
    fields = {name for name in _WITH_VALUES if getattr(task_filter, name)}
    low, high = _id_of(task_filter.since, ""), _id_of(task_filter.until, "g")
    is_bound = task_filter.since is not None or task_filter.until is not None
    if task_filter.sort == "created":
        used, prefixes = _values(task_filter, fields, counts)
        top = min(high, before or high)
        stretches = None if prefixes is None else [_under(p, low, top) for p in prefixes]
        return ReadPlan(stretches, low, top, fields == used)
    if task_filter.sort == "priority":
        used, stretches = {"status", "priority"}, _by_level(task_filter, counts, before)
    elif task_filter.sort == "started":
        used, stretches = set(), [_under(b"t", "", before or "g")]
    else:
        ends = [
            status for status in ENDED if not task_filter.status or status in task_filter.status
        ]
        used, stretches = {"status"}, [_under(end_code(s), "", before or "g") for s in ends]
    return ReadPlan(stretches, low, high, fields <= used and not is_bound)


def _values(
    task_filter: TaskFilter, fields: set[str], counts: Counts
) -> tuple[set[str], list[bytes] | None]:
    """The fields whose index to use, and the prefixes of its rows."""
    by_status = fields & {"status", "priority"}
    cells = _cells(task_filter, counts)
    is_few = sum(cells.values()) <= FEW
    if by_status and (is_few or not fields & {"batch_id", "cron_id", "tenant"}):
        return by_status, list(cells)
    for name, letter in (("batch_id", "b"), ("cron_id", "c")):
        if name in fields:
            ids = [i for i in dict.fromkeys(getattr(task_filter, name)) if len(i) == _ID_LENGTH]
            return {name}, [f"{letter}{i}".encode() for i in ids]
    if "tenant" in fields:
        return {"tenant"}, [tenant_prefix(each) for each in dict.fromkeys(task_filter.tenant)]
    return set(), None


def _cells(task_filter: TaskFilter, counts: Counts) -> dict[bytes, int]:
    """The number of tasks per matching status and level, by the prefix of their rows."""
    return {
        STATUS_CODE[status] + _LEVELS[level]: count
        for status in Status
        if not task_filter.status or status in task_filter.status
        for level, count in counts.by_status.get(status, {}).items()
        if count and (not task_filter.priority or level in task_filter.priority)
    }


def _by_level(task_filter: TaskFilter, counts: Counts, before: str) -> list[KeyRange]:
    ranges = []
    for cell in _cells(task_filter, counts):
        end = after(cell)
        if before:
            end = min(end, cell[:2] + before.encode())
        ranges.append(KeyRange(cell, end, 2))
    return ranges


def _under(prefix: bytes, low: str, high: str) -> KeyRange:
    return KeyRange(prefix + low.encode(), prefix + high.encode(), len(prefix))


def _id_of(moment: datetime | None, default: str) -> str:
    """The lowest id of a time: ids contain the microsecond in which a task was accepted."""
    if moment is None:
        return default
    return mint(max(0, (moment - _BEGINNING) // timedelta(microseconds=1)), 0)


def total_of(
    task_filter: TaskFilter,
    counts: Counts,
    counts_of: Callable[[str], Counts],
    batch_of: Callable[[str], Batch | None],
    reasons: WaitReasons | None,
) -> int | None:
    """The number of matching tasks, if the counts tell; else None."""
    fields = {name for name in _WITH_VALUES if getattr(task_filter, name)}
    if task_filter.since is not None or task_filter.until is not None:
        return None
    if fields <= {"status", "priority"}:
        return sum(_cells(task_filter, counts).values())
    if fields <= {"status", "priority", "tenant"}:
        tenants = dict.fromkeys(task_filter.tenant)
        return sum(sum(_cells(task_filter, counts_of(each)).values()) for each in tenants)
    if reasons is not None and fields <= {"waiting_for", "status"}:
        return sum(reasons.counts.get(reason, 0) for reason in set(task_filter.waiting_for))
    if fields == {"batch_id"}:
        batches = map(batch_of, dict.fromkeys(task_filter.batch_id))
        return sum(batch.held for batch in batches if batch is not None)
    return None
