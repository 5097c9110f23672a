"""The records that leave the process: to disk, over the wire, and to Python callers."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from . import limits
from .errors import cut


class PublicRecord:
    """A record that callers pass or receive."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as the HTTP API sends it, for `json.dumps` and web frameworks.

        Made of new, plain dicts, lists, numbers and texts: times are in ISO 8601 (UTC with `Z`),
        enums are their values, nested records are dicts.
        """
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


CLIENT_LEFT = "its client disconnected"
"""The `error` of a task that was cancelled because nobody waited for its answer any more."""


class Status(StrEnum):
    """The status of a task; `lifecycle.NEXT` says which may follow which."""

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
    """What a task asks of a model, named after Ollama's endpoints."""

    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"


class Dialect(StrEnum):
    """The API in which a task's payload, chunks and result are written."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    RESPONSES = "responses"  # OpenAI's, too: the payload of a chat is a request for a response


class Priority(IntEnum):
    """Named priorities; any whole number from 1 to 15 is one, and higher ones run sooner."""

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


class ErrorCode(StrEnum):
    """Why the queue itself failed a task: EXPIRED, past its `deadline` or `start_within`."""

    EXPIRED = "expired"


class NewTask(Struct, PublicRecord, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task as a user submits it; the scheduler adds the other fields on acceptance.

    Made by `chat_task`, `generate_task`, `embed_task`, or from JSON by `submission.new_task`,
    which checks it. `type` is the kind of task and `model` the model; `payload` is the body for its
    endpoint, `options` the model's parameters. `priority` is 1 to 15; higher ones run sooner.
    `scheduled_at` is aware; `timeout_s` (seconds > 0) limits one attempt; `max_retries` None means
    the queue's setting. A task that has not ended at its `deadline` (aware) fails, waiting or
    running; so does one whose first attempt has not begun `start_within` seconds after its submit,
    or after `scheduled_at`. `backend` is the name of the only backend that may run it, or
    `tag:NAME` for those with a tag; `remote_execution` restricts it to remote ones. `tenant` is who
    it runs for, where tenants share fairly. `tags` (at most 64) are labels to filter by; `metadata`
    (64 KiB as JSON) is for the program's own use. `fallback_models` (at most 8) may run it in place
    of `model`, in order, as the settings of `model` say when; None means those of the settings, an
    empty list none. `traceparent` and `tracestate` are the trace that it belongs to (W3C Trace
    Context); its calls are children of it. `callback_url` is sent the event of the task's end. In
    OpenAI's `dialect`, the payload is the body of a request to `/v1`, and `options` is empty; in
    `responses`, that of a chat is for `/v1/responses`.
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
    fallback_models: list[str] | None = None
    deadline: datetime | None = None
    start_within: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    callback_url: str | None = None


class Upstream(Struct, PublicRecord, frozen=True, omit_defaults=True):
    """A failed call's error, as a direct client of the model server would get it.

    `message` never contains the server's address; the others are OpenAI's, if the server sent them.
    """

    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class Attempt(Struct, PublicRecord, frozen=True, kw_only=True):
    """One call to a model that has ended; `error` is None when the model answered.

    `attempt` counts from 1; `backend` is the server that was called, from `started_at` to
    `ended_at`. `status` is the HTTP status of the model server's answer to a failed call, if there
    was one; `upstream` is its error. `fallback` is the model that was called, if that was one of
    the task's fallbacks; None: the task's own.
    """

    attempt: int
    backend: str | None
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    status: int | None = None
    upstream: Upstream | None = None
    fallback: str | None = None


def briefly(attempt: Attempt) -> Attempt:
    """The attempt with a shortened error, and without the model server's own."""
    if attempt.error is None:
        return attempt
    return replace(attempt, error=cut(attempt.error, limits.BRIEF), upstream=None)


class Spec(Struct, frozen=True, omit_defaults=True):
    """What a task asks of the model: written once, never changed."""

    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    dialect: Dialect = Dialect.OLLAMA
    tracestate: str | None = None


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
    error_code: ErrorCode | None = None
    attempt: int = 0
    retry_count: int = 0
    max_retries: int
    interruptions: int = 0
    timeout_s: float | None = None
    deadline: datetime | None = None
    start_within: float | None = None
    remote_execution: bool = False
    backend: str | None = None
    executed_on: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    batch_id: str | None = None
    cron_id: str | None = None
    tenant: str | None = None
    tags: list[str] = []
    fallback_models: list[str] | None = None
    callback_url: str | None = None
    attempts: list[Attempt] = []
    traceparent: str | None = None
    seq: int = 0


class Record(_Facts, frozen=True, kw_only=True):
    """The small, changing part of a task, as it is stored and as events carry it.

    `route` is the task's route key (`routes.route_key`), `size` the size of its spec in bytes,
    `key` the digest of its idempotency key, `avoid` the backend on which it failed last, `lacking`
    those that reported not to have its model, `fallback` the model of the last call if it was not
    `model`. They are here so that a boot can rebuild the plan
    without reading payloads.
    """

    route: str = ""
    size: int = 0
    key: bytes | None = None
    avoid: str | None = None
    lacking: tuple[str, ...] = ()
    fallback: str | None = None

    @property
    def model_used(self) -> str | None:
        """The model of the last call; None before the first."""
        return self.fallback or (None if self.executed_on is None else self.model)


class Task(_Facts, frozen=True, kw_only=True):
    """One task, as it is shown.

    - As it was submitted (see `NewTask`): `type`, `model`, `priority`, `scheduled_at`,
      `max_retries`, `timeout_s`, `deadline`, `start_within`, `remote_execution`, `backend`,
      `tenant`, `tags`, `fallback_models`,
      `traceparent`.
      `tenant`, `tags`, `fallback_models`, `callback_url`.
    - `id`; `title`, the first 120 characters of the prompt; `batch_id` and `cron_id`, the batch
      and the cron that submitted it, or None.
    - `status`, and an `error` in one sentence if its last attempt failed, or if it was cancelled
      because its client disconnected. `error_code` is "expired" if it failed because it was late.
    - Aware times or None: `created_at`; `queued_at`, from which its place in the queue counts;
      `started_at` and `completed_at`, of its last attempt and of its end; `next_attempt_at`, before
      which it is not retried.
    - `attempt`, the number of calls started; `retry_count`, how many of them count as retries;
      `interruptions`, how many the queue itself ended (a stop, a crash); `attempts`, the calls that
      have ended, three of them in lists; `executed_on`, the backend of the last one, and
      `model_used`, its model, which may be one of the fallbacks; it read `prompt_tokens` and
      generated `tokens`.
    - `seq` grows with each change of any task.

    `payload`, `options`, `metadata`, `dialect` and `tracestate` are None in lists; `result` is the
    model's reply, None until the task is completed. `waiting_for`, `position` (the number of tasks
    of the same route before it; 0 is next) and `eta_s` (seconds until it may start, None when
    unknown) are set while the task waits.
    """

    payload: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    dialect: Dialect | None = None
    model_used: str | None = None
    tracestate: str | None = None
    result: Any = None
    waiting_for: WaitingFor | None = None
    position: int | None = None
    eta_s: float | None = None


class Submitted(Struct, PublicRecord, frozen=True):
    """The answer to a submit: the task's `task_id`, current `status` and `position`.

    `created` is False if the idempotency key matched an earlier task. `position` is the number of
    tasks before it, as in `Task`; None if it does not wait.
    """

    task_id: str
    status: Status
    position: int | None
    created: bool = True


class TaskResult(Struct, PublicRecord, frozen=True):
    """How the task `task_id` ended: `success` says whether the model answered.

    `result` is the model's reply, or None, with an `error` in one sentence. `model_used` is the
    model of the last call, which may be one of the task's fallbacks; None if there was no call.
    """

    task_id: str
    success: bool
    result: Any = None
    error: str | None = None
    model_used: str | None = None

    @property
    def data(self) -> Any:
        """The `result`, under its name in the original, for programs written for that."""
        return self.result


class BatchSubmitted(Struct, PublicRecord, frozen=True):
    """The answer to a batch: its `batch_id`, and its tasks' `task_ids` in order of submission.

    `created` is False if the idempotency key matched an earlier batch.
    """

    batch_id: str
    task_ids: list[str]
    created: bool = True


class BatchStatus(StrEnum):
    """The status of a batch whose tasks are the lines of a file, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the batch has ended, and its files are written."""
        return self in (
            BatchStatus.FAILED,
            BatchStatus.COMPLETED,
            BatchStatus.EXPIRED,
            BatchStatus.CANCELLED,
        )


class BatchFault(Struct, PublicRecord, frozen=True, kw_only=True):
    """What is wrong in a batch's file: `line` counts from 1, None for the whole file. `code` is
    stable, `message` a sentence, `param` the wrong field."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchUsage(Struct, PublicRecord, frozen=True, kw_only=True):
    """The tokens of a batch: `input`, of these `cached`; `output`, of these `reasoning`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0


class BatchJob(Struct, PublicRecord, frozen=True, kw_only=True):
    """What a batch has besides its tasks if they are the lines of a file.

    - As it was created: the file `input_file_id`, the `endpoint` of all lines, the
      `completion_window`, which ends at `expires_at`, the `priority`, `tenant` and
      `fallback_models` of the tasks, the user's `metadata`, and after how many seconds the files it
      writes are deleted (`output_expires_s`; None: as the settings say). What the key that created
      it allows: `allowed_models` (patterns; empty: all), and `backend`, as in a task.
    - `status`, and when it was reached (times or None): `in_progress_at`, `finalizing_at`,
      `completed_at`, `failed_at`, `expired_at`, `cancelling_at`, `cancelled_at`.
    - `faults` say why it failed: what is wrong in its file. `model` is that of all lines, or None.
    - Once it has ended: the replies in `output_file_id` and the errors in `error_file_id`, None if
      there are none; how many lines are `answered` and `refused`; the `usage` of tokens.
    """

    input_file_id: str
    endpoint: str
    completion_window: str
    expires_at: datetime
    priority: int = Priority.LOW
    tenant: str | None = None
    metadata: dict[str, str] = {}
    output_expires_s: int | None = None
    allowed_models: list[str] = []
    backend: str | None = None
    fallback_models: list[str] | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    in_progress_at: datetime | None = None
    finalizing_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    expired_at: datetime | None = None
    cancelling_at: datetime | None = None
    cancelled_at: datetime | None = None
    faults: list[BatchFault] = []
    model: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    answered: int = 0
    refused: int = 0
    usage: BatchUsage = BatchUsage()


class Batch(Struct, PublicRecord, frozen=True, kw_only=True):
    """Tasks that were submitted together at `created_at`, and their number in each status.

    `id` is the batch's, `total` the number submitted. `pending`, `running`, `completed`, `failed`
    and `cancelled` count those that are not deleted. `job` is a `BatchJob` if the tasks are the
    lines of a file, else None. `tenant` is that of all of its tasks, None if they differ.
    """

    id: str
    created_at: datetime
    total: int
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    job: BatchJob | None = None
    tenant: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether all of its tasks have ended."""
        return self.pending + self.running == 0

    @property
    def is_settled(self) -> bool:
        """Whether all of its tasks have ended, and its files are written if it has any."""
        return self.is_over and (self.job is None or self.job.status.is_final)

    @property
    def held(self) -> int:
        """The number of its tasks that still exist: deleted ones are not counted."""
        return self.pending + self.running + self.completed + self.failed + self.cancelled


class Event(Struct, PublicRecord, frozen=True):
    """A change that is on disk: `event` is its name, such as "task_completed", `at` its time.

    `seq` numbers all events of a queue in the order of commits.

    `task` is as in lists; None for an event without a task. `cron_id` is the cron of `cron_fired`,
    `cron_skipped` and `cron_changed`; `reason` says why a run was skipped. `backend` is the backend
    of `backend_changed`; `reason` says why it is unavailable.
    """

    event: str
    task: Task | None
    at: datetime
    seq: int
    cron_id: str | None = None
    reason: str | None = None
    backend: str | None = None


class AttemptBegun(Struct, frozen=True):
    """The pieces that follow in a stream belong to this attempt, which runs on `backend`.

    `at` is when it began, in seconds since 1970; `fallback` is its model if not the task's own.
    """

    attempt: int
    backend: str
    at: float
    fallback: str | None = None


class Piece(Struct, frozen=True, gc=False):
    """A piece of a running task's reply, as JSON: an object of the task's dialect, on one line.

    Pieces of an attempt are numbered from 0.
    """

    attempt: int
    number: int
    raw: bytes


class Chunk(Struct, PublicRecord, frozen=True):
    """A piece of a running task's reply, in the task's dialect.

    `id` is `attempt.n`, n from 0. `restart` means that earlier chunks belong to an attempt that
    failed, and must be dropped. The last chunk of a stream is `done` and has no data; its
    `status` is the task's, `error` says why it did not complete.
    """

    id: str
    data: Any = None
    restart: bool = False
    done: bool = False
    error: str | None = None
    status: Status | None = None
