"""What a cron is: a task that is submitted again and again, by the clock."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from .tasks import Priority, PublicRecord, TaskType

IfExists = Literal["update", "keep", "error"]
"""What becomes of a cron that is added while there is one of its name."""


class Overlap(StrEnum):
    """What becomes of a run that is due while the task of an earlier one still waits or runs."""

    ALLOW = "allow"
    SKIP = "skip"


class Missed(StrEnum):
    """What becomes of runs that were due while the queue was down: none, or one for all."""

    SKIP = "skip"
    ONCE = "once"


class TaskTemplate(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each run submits. The fields are those of a `NewTask`: `type`, `model`, `payload`,
    `options`, `priority`, `max_retries`, `timeout_s`, `remote_execution`, `backend`, `tags`."""

    type: TaskType
    model: str
    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    priority: int = Priority.NORMAL
    max_retries: int | None = None
    timeout_s: float | None = None
    remote_execution: bool = False
    backend: str | None = None
    tags: list[str] = []


class NewCron(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cron as a user asks for it.

    `task_template` is submitted whenever `cron_expr` (five fields, or `@daily` and the like) is due
    by the clock of `timezone` (an IANA name), while it is `enabled`. `overlap` says what becomes of
    a run while the task of an earlier one has not ended, `missed` of runs that were due while the
    queue was down. `name` (256 characters at most) need not be unique, `metadata` (64 KiB as JSON)
    is the program's own.
    """

    name: str
    cron_expr: str
    task_template: TaskTemplate
    enabled: bool = True
    timezone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    missed: Missed = Missed.SKIP
    metadata: dict[str, Any] = {}


class Cron(Struct, PublicRecord, frozen=True, kw_only=True):
    """A cron as it is shown, and as it lies on disk.

    The fields of a `NewCron`, and: `id`, `created_at`, `updated_at` (aware times). `next_run` is
    None while it is disabled; `last_run` is when a task was last submitted, and
    `run_count` how often one was.
    """

    id: str
    name: str
    cron_expr: str
    timezone: str = "UTC"
    enabled: bool
    overlap: Overlap = Overlap.ALLOW
    missed: Missed = Missed.SKIP
    task_template: TaskTemplate
    next_run: datetime | None = None
    last_run: datetime | None = None
    run_count: int = 0
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, Any] = {}


class CronAdded(Struct, PublicRecord, frozen=True):
    """The answer to a new cron. `created` is False where one of its name was there already."""

    id: str
    created: bool = True
