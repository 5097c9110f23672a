"""The records that leave the process: on disk, on the wire, and in the hands of Python callers."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct


class Status(StrEnum):
    """Where a task is in its life; `lifecycle.NEXT` says what may follow what."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (Status.PENDING, Status.RUNNING)


class TaskType(StrEnum):
    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"


class Priority(IntEnum):
    """The named levels; any whole number from 1 to 15 is a priority, the higher the sooner."""

    LOW = 1
    NORMAL = 5
    HIGH = 10
    CRITICAL = 15


class WaitingFor(StrEnum):
    """Why a pending task does not run yet."""

    SLOT = "slot"
    SCHEDULE = "schedule"
    RETRY = "retry"
    BACKEND = "backend"
    PAUSED = "paused"


class NewTask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may ask for; the scheduler adds the rest on acceptance.

    Made by `chat_task`, `generate_task`, `embed_task`, or from JSON by `submission.new_task`,
    which checks it. `scheduled_at` is aware; `timeout_s` (seconds > 0) limits one attempt;
    `max_retries` None means the queue's own setting. `backend` is the name of the only one that may
    run it, or `tag:NAME` for those that carry a tag; with `remote_execution` it is a remote one.
    """

    type: TaskType
    model: str
    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    priority: int = Priority.NORMAL
    scheduled_at: datetime | None = None
    max_retries: int | None = None
    timeout_s: float | None = None
    remote_execution: bool = False
    backend: str | None = None
    tenant: str | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}


class Attempt(Struct, frozen=True, kw_only=True):
    """One call to a model, once it has ended; `error` is None when the model answered."""

    attempt: int
    backend: str | None
    started_at: datetime
    ended_at: datetime
    error: str | None = None


class Spec(Struct, frozen=True):
    """What is asked of the model: written once, never changed."""

    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class _Facts(Struct, frozen=True, kw_only=True):
    id: str
    type: TaskType
    model: str
    priority: int
    status: Status = Status.PENDING
    title: str = ""
    created_at: datetime
    queued_at: datetime
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    error: str | None = None
    attempt: int = 0
    retry_count: int = 0
    max_retries: int
    interruptions: int = 0
    timeout_s: float | None = None
    remote_execution: bool = False
    backend: str | None = None
    executed_on: str | None = None
    batch_id: str | None = None
    cron_id: str | None = None
    tenant: str | None = None
    tags: list[str] = []
    attempts: list[Attempt] = []
    seq: int = 0


class Record(_Facts, frozen=True, kw_only=True):
    """The small, changing part of a task, as it lies on disk and travels in events.

    `route` is the task's route key (`routing.route_key`), `size` what is asked in bytes, `key`
    the digest of its idempotency key, `words` the last error where the same words again are
    final, `avoid` the backend on which it failed last: they are here so that a boot can rebuild the
    plan without reading payloads.
    """

    route: str = ""
    size: int = 0
    key: bytes | None = None
    words: str = ""
    avoid: str | None = None


class Task(_Facts, frozen=True, kw_only=True):
    """One piece of work, as it is shown.

    `payload`, `options` and `metadata` are None in lists; `result` is the model's reply, None
    until the task is completed. `waiting_for`, `position` (tasks of the same route before
    this one; 0 is next) and `eta_s` (seconds until it may start, None when unknown) are given
    while the task waits.
    """

    payload: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    result: Any = None
    waiting_for: WaitingFor | None = None
    position: int | None = None
    eta_s: float | None = None


class Submitted(Struct, frozen=True):
    """The answer to a submit. `created` is False when an idempotency key found the task again."""

    task_id: str
    status: Status
    position: int | None
    created: bool = True


class TaskResult(Struct, frozen=True):
    """How a task ended: `data` is the model's reply, or None and an `error`."""

    task_id: str
    success: bool
    data: Any = None
    error: str | None = None


class BatchSubmitted(Struct, frozen=True):
    """The answer to a batch: the ids of its tasks in the order given."""

    batch_id: str
    task_ids: list[str]
    created: bool = True


class Batch(Struct, frozen=True, kw_only=True):
    """Tasks that were submitted together, and how many of them are where."""

    id: str
    created_at: datetime
    total: int
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def is_over(self) -> bool:
        return self.pending + self.running == 0

    @property
    def held(self) -> int:
        """How many of its tasks there still are: those that were deleted left the counts."""
        return self.pending + self.running + self.completed + self.failed + self.cancelled


class Event(Struct, frozen=True):
    """A change that is on disk. `seq` numbers all events of a queue in the order of commits.

    Between the actors `task` is the `Record`; a subscriber is shown a `Task`, as in lists.
    `cron_id` names the cron of `cron_fired`, `cron_skipped` and `cron_changed`; `reason` says why
    a run was skipped. `backend` names that of `backend_changed`; `reason` says why it is out.
    """

    event: str
    task: Record | Task | None
    at: datetime
    seq: int
    cron_id: str | None = None
    reason: str | None = None
    backend: str | None = None


class Chunk(Struct, frozen=True):
    """A piece of a running task's reply, in the task's dialect.

    `id` is `attempt.n`, n from 0. `restart` says that what came before belongs to an attempt
    that has ended without success and is to be dropped. The last chunk of a stream is `done` and
    carries no data; its `status` is the task's, `error` says why it did not complete.
    """

    id: str
    data: Any = None
    restart: bool = False
    done: bool = False
    error: str | None = None
    status: Status | None = None
