"""The records that leave the process: on disk, on the wire, and in the hands of Python callers."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from . import limits
from .errors import cut


class PublicRecord:
    """A record that callers get or give."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """What the HTTP API says of it, for `json.dumps` and web frameworks.

        Plain dicts, lists, numbers and texts, all of them new: times are in ISO 8601 (UTC with
        `Z`), enums are their values, records in it are dicts.
        """
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


class Status(StrEnum):
    """Where a task is in its life; `lifecycle.NEXT` says what may follow what."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the task has ended: completed, failed or cancelled."""
        return self not in (Status.PENDING, Status.RUNNING)


class TaskType(StrEnum):
    """What a task asks of a model, by the endpoint of Ollama that does it."""

    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"


class Dialect(StrEnum):
    """Whose API says a task: its payload, the pieces of its reply, and its result."""

    OLLAMA = "ollama"
    OPENAI = "openai"


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


class NewTask(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may ask for; the scheduler adds the rest on acceptance.

    Made by `chat_task`, `generate_task`, `embed_task`, or from JSON by `submission.new_task`,
    which checks it. `type` and `model` say what is asked of which model: `payload` is what its
    endpoint takes, `options` the model's parameters. `priority` is 1 to 15, the higher the sooner.
    `scheduled_at` is aware; `timeout_s` (seconds > 0) limits one attempt; `max_retries` None means
    the queue's own setting. `backend` is the name of the only one that may run it, or `tag:NAME`
    for those that carry a tag; with `remote_execution` it is a remote one. `tenant` is for whom it
    runs, where tenants share fairly. `tags` (64 at most) are to find it by, `metadata` (64 KiB as
    JSON) is the program's own. In OpenAI's `dialect` the payload is the body of a request to
    `/v1`, and `options` are none.
    """

    type: TaskType
    model: str
    dialect: Dialect = Dialect.OLLAMA
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


class Upstream(Struct, PublicRecord, frozen=True, omit_defaults=True):
    """A failed call as a client of the model server itself would hear of it.

    `message` never has the server's address; the others are OpenAI's, where the server gave them.
    """

    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class Attempt(Struct, PublicRecord, frozen=True, kw_only=True):
    """One call to a model, once it has ended; `error` is None when the model answered.

    `attempt` counts from 1; `backend` is the server that was called, from `started_at` to
    `ended_at`.
    `status`: what the model server answered a failed one with, if it answered in HTTP; `upstream`
    is how it said why.
    """

    attempt: int
    backend: str | None
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    status: int | None = None
    upstream: Upstream | None = None


def briefly(attempt: Attempt) -> Attempt:
    """With the beginning of its error only, and without the model server's own."""
    if attempt.error is None:
        return attempt
    return replace(attempt, error=cut(attempt.error, limits.BRIEF), upstream=None)


class Spec(Struct, frozen=True, omit_defaults=True):
    """What is asked of the model: written once, never changed."""

    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    dialect: Dialect = Dialect.OLLAMA


class _Facts(Struct, PublicRecord, frozen=True, kw_only=True):
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
    tokens: int = 0
    batch_id: str | None = None
    cron_id: str | None = None
    tenant: str | None = None
    tags: list[str] = []
    attempts: list[Attempt] = []
    seq: int = 0


class Record(_Facts, frozen=True, kw_only=True):
    """The small, changing part of a task, as it lies on disk and travels in events.

    `route` is the task's route key (`routing.route_key`), `size` what is asked in bytes, `key`
    the digest of its idempotency key, `avoid` the backend on which it failed last, `lacking` those
    that said that they do not have its model: they are here so that a boot can rebuild the plan
    without reading payloads.
    """

    route: str = ""
    size: int = 0
    key: bytes | None = None
    avoid: str | None = None
    lacking: tuple[str, ...] = ()


class Task(_Facts, frozen=True, kw_only=True):
    """One piece of work, as it is shown.

    - As it was submitted (see `NewTask`): `type`, `model`, `priority`, `scheduled_at`,
      `max_retries`, `timeout_s`, `remote_execution`, `backend`, `tenant`, `tags`.
    - `id`; `title`, the first 120 characters of what is asked; `batch_id` and `cron_id`, the batch
      and the cron that it came with, or None.
    - `status`, and an `error` in one sentence where its last attempt failed.
    - Aware times or None: `created_at`; `queued_at`, from which its place in the queue counts;
      `started_at` and `completed_at`, of its last attempt and of its end; `next_attempt_at`, before
      which it is not tried again.
    - `attempt`, how many calls were begun; `retry_count`, how many of them count as retries;
      `interruptions`, how many the queue itself ended (a stop, a crash); `attempts`, the calls that
      have ended, of which lists have three; `executed_on`, the backend of the last one; `tokens`,
      how many that generated.
    - `seq` grows with each change of any task.

    `payload`, `options`, `metadata` and `dialect` are None in lists; `result` is the model's
    reply, None until the task is completed. `waiting_for`, `position` (tasks of the same route
    before this one; 0 is next) and `eta_s` (seconds until it may start, None when unknown) are
    given while the task waits.
    """

    payload: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    dialect: Dialect | None = None
    result: Any = None
    waiting_for: WaitingFor | None = None
    position: int | None = None
    eta_s: float | None = None


class Submitted(Struct, PublicRecord, frozen=True):
    """The answer to a submit: the task's `task_id`, and its `status` and `position` by then.

    `created` is False when an idempotency key found the task again. `position` counts the tasks
    before it, as a `Task`'s does; None where it does not wait.
    """

    task_id: str
    status: Status
    position: int | None
    created: bool = True


class TaskResult(Struct, PublicRecord, frozen=True):
    """How the task `task_id` ended: `success` says whether the model answered.

    `result` is the model's reply, or None, with an `error` in one sentence.
    """

    task_id: str
    success: bool
    result: Any = None
    error: str | None = None

    @property
    def data(self) -> Any:
        """The `result`, by its name in programs written for the original."""
        return self.result


class BatchSubmitted(Struct, PublicRecord, frozen=True):
    """The answer to a batch: its `batch_id`, and the `task_ids` of its tasks in the order given.

    `created` is False when an idempotency key found the batch again.
    """

    batch_id: str
    task_ids: list[str]
    created: bool = True


class Batch(Struct, PublicRecord, frozen=True, kw_only=True):
    """Tasks that were submitted together at `created_at`, and how many of them are where.

    `id` is the batch's, `total` how many there were. `pending`, `running`, `completed`, `failed`
    and `cancelled` count those that were not deleted since.
    """

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
        """Whether all of its tasks have ended."""
        return self.pending + self.running == 0

    @property
    def held(self) -> int:
        """How many of its tasks there still are: those that were deleted left the counts."""
        return self.pending + self.running + self.completed + self.failed + self.cancelled


class Event(Struct, PublicRecord, frozen=True):
    """A change that is on disk: `event` is its name, such as "task_completed", `at` when it was.

    `seq` numbers all events of a queue in the order of commits.

    `task` is as in lists; None for what happened to no task. `cron_id` names the cron of
    `cron_fired`, `cron_skipped` and `cron_changed`; `reason` says why a run was skipped. `backend`
    names that of `backend_changed`; `reason` says why it is out.
    """

    event: str
    task: Task | None
    at: datetime
    seq: int
    cron_id: str | None = None
    reason: str | None = None
    backend: str | None = None


class Chunk(Struct, PublicRecord, frozen=True):
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
