"""Crons: tasks that are submitted repeatedly on a schedule."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from .tasks import Priority, PublicRecord, TaskType

IfExists = Literal["update", "keep", "error"]
"""What to do when a new cron has the name of an existing one."""


class Overlap(StrEnum):
    """What to do with a run that is due while the task of an earlier run is pending or running."""

    ALLOW = "allow"
    SKIP = "skip"


class Missed(StrEnum):
    """What to do about runs missed while the queue was down: nothing, or one run for all."""

    SKIP = "skip"
    ONCE = "once"


class TaskTemplate(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task that each run submits. Its fields are as in `NewTask`: `type`, `model`, `payload`,
    `options`, `priority`, `max_retries`, `timeout_s`, `start_within`, `remote_execution`,
    `backend`, `tags`, `fallback_models`, `callback_url`."""

    type: TaskType
    model: str
    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    priority: int = Priority.NORMAL
    max_retries: int | None = None
    timeout_s: float | None = None
    start_within: float | None = None
    remote_execution: bool = False
    backend: str | None = None
    tags: list[str] = []
    fallback_models: list[str] | None = None
    callback_url: str | None = None


class NewCron(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cron as a user submits it.

    `task_template` is submitted whenever `cron_expr` (five fields, or an alias such as `@daily`) is
    due in `timezone` (an IANA name), while the cron is `enabled`. `overlap` says what to do with a
    run while the task of an earlier one has not ended, `missed` with runs that were due while the
    queue was down. `name` (at most 256 characters) need not be unique; `metadata` (64 KiB as JSON)
    is for the program's own use. `tenant` is that of its tasks.
    """

    name: str
    cron_expr: str
    task_template: TaskTemplate
    enabled: bool = True
    timezone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    missed: Missed = Missed.SKIP
    metadata: dict[str, Any] = {}
    tenant: str | None = None


class Cron(Struct, PublicRecord, frozen=True, kw_only=True):
    """A cron, as shown and as stored.

    The fields of a `NewCron`, and: `id`, `created_at`, `updated_at` (aware times). `next_run` is
    None while it is disabled; `last_run` is when a task was last submitted, and
    `run_count` the number of tasks submitted.
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
    tenant: str | None = None


class CronAdded(Struct, PublicRecord, frozen=True):
    """The answer to a new cron. `created` is False if one of its name already existed."""

    id: str
    created: bool = True
