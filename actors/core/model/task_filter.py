"""Lists of tasks: filters, matching, pages and cursors."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from .errors import Invalid
from .model_names import model_name
from .tasks import ErrorCode, PublicRecord, Record, Status, Task, TaskType, WaitingFor

MAX_LIMIT = 1000
MAX_OFFSET = 10_000

Sort = Literal["created", "started", "ended", "priority"]
Part = Literal["payload", "result"]


class TaskFilter(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks to list: any value of a field may match, all fields must.

    `status`, `type`, `priority`, `model`, `batch_id`, `cron_id`, `tenant`, `tag`, `waiting_for` and
    `error_code` are those of the tasks, 100 values each at most; an empty list matches all.
    `failure` is the id of a `FailureGroup`, and matches failed tasks.
    `since` (inclusive) and `until` (exclusive) are aware times and bound `created_at`; `q` is text
    in id, model, tags or title, in any case. `waiting_for` lists only pending tasks. Each sort
    lists the newest or highest first: `priority` the newest of a level first; `started` and `ended`
    list only tasks that have a `started_at` or have ended. `limit` is 1 to 1000, `offset` 0 to
    10,000. `cursor` is a `TaskPage`'s, of the same filter. `include` adds parts that lists leave
    out.
    """

    status: list[Status] = []
    type: list[TaskType] = []
    priority: list[int] = []
    model: list[str] = []
    batch_id: list[str] = []
    cron_id: list[str] = []
    tenant: list[str] = []
    tag: list[str] = []
    waiting_for: list[WaitingFor] = []
    error_code: list[ErrorCode] = []
    failure: list[str] = []
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""
    sort: Sort = "created"
    limit: int = 100
    offset: int = 0
    cursor: str | None = None
    include: list[Part] = []


class TaskPage(Struct, PublicRecord, frozen=True):
    """A page of a list. With a `cursor` there may be more, even if this page is short or empty:
    a filter without an index reads a bounded number of tasks per page.

    `total` counts all matching tasks where that is known without reading them: without filters,
    by `status`, `priority` and `tenant`, or by `batch_id` or `waiting_for` alone.
    """

    tasks: list[Task]
    cursor: str | None = None
    total: int | None = None


class WaitReasons(Struct, frozen=True):
    """What the plan knows, `at` an instant, of why tasks wait, for matching many tasks.

    While it is `paused`, all wait for that; else those that are due wait for a backend if
    their route is `shut`. `counts` is the number of tasks per reason.
    """

    at: float
    paused: bool
    shut: frozenset[str]
    counts: Mapping[str, int]

    def of(self, record: Record) -> WaitingFor | None:
        """Why a task waits; None if it does not."""
        if record.status is not Status.PENDING:
            return None
        if self.paused:
            return WaitingFor.PAUSED
        due = record.next_attempt_at or (None if record.attempt else record.scheduled_at)
        if due is not None and due.timestamp() > self.at:
            return WaitingFor.RETRY if record.attempt else WaitingFor.SCHEDULE
        return WaitingFor.BACKEND if record.route in self.shut else WaitingFor.SLOT


_PLAIN = ("status", "type", "priority", "batch_id", "cron_id", "tenant", "error_code")
"""The fields of a filter whose values are those of the record's field of the same name."""


class TaskMatcher:
    """A filter prepared to match many records; it does not check `since`, `until` and `failure`."""

    def __init__(self, task_filter: TaskFilter, reasons: WaitReasons | None = None) -> None:
        self._facts = {
            name: frozenset(values) for name in _PLAIN if (values := getattr(task_filter, name))
        }
        self._models = frozenset(map(model_name, task_filter.model))
        self._tags = frozenset(task_filter.tag)
        self._text = task_filter.q.casefold()
        self._reasons, self._waiting_for = reasons, frozenset(task_filter.waiting_for)

    def __contains__(self, record: Record) -> bool:
        for name, values in self._facts.items():
            if getattr(record, name) not in values:
                return False
        if self._models and model_name(record.model) not in self._models:
            return False
        if self._tags and self._tags.isdisjoint(record.tags):
            return False
        if self._reasons is not None and self._reasons.of(record) not in self._waiting_for:
            return False
        return not self._text or self._is_said_in(record)

    def _is_said_in(self, record: Record) -> bool:
        texts = (record.id, record.model, record.title, *record.tags)
        return any(self._text in text.casefold() for text in texts)


class Cursor(Struct, frozen=True):
    """Where a page ended: `place` is the position of its last task in the sort order; the next
    page skips `skip` more."""

    sort: Sort
    skip: int
    place: str

    def __str__(self) -> str:
        return f"{self.sort}.{self.skip}.{self.place}"


def read_cursor(task_filter: TaskFilter) -> Cursor:
    """Where a list continues; an empty `place` is its start. Raises `Invalid`."""
    if task_filter.cursor is None:
        return Cursor(task_filter.sort, task_filter.offset, "")
    parts = re.fullmatch(r"([a-z]{1,10})\.([0-9]{1,5})\.([0-9a-f-]{1,64})", task_filter.cursor)
    if parts is None:
        raise Invalid("cursor must come from an earlier page", field="cursor")
    if parts[1] != task_filter.sort:
        raise Invalid(
            f"cursor is of a list sorted by {parts[1]}, this one is sorted by {task_filter.sort}",
            field="cursor",
        )
    if task_filter.offset:
        raise Invalid("offset cannot be given together with cursor", field="offset")
    return Cursor(task_filter.sort, int(parts[2]), parts[3])
