"""To the Scheduler: commands of doors, and facts from workers and the Prober."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from ..access.keys import Grant
from ..activity.measures import PlanMeasures
from ..model.access_keys import AccessKey, Budget, KeyInfo
from ..model.crons import Cron
from ..model.outcomes import CallEnd, Outcome, ProbeResult
from ..model.stats import BackendState, PlanState, Waiting
from ..model.task_filter import WaitReasons
from ..model.tasks import Batch, BatchSubmitted, NewTask, Record, Submitted
from .command import ChangeCommand, Command
from .replies import StoredTask
from .wake import Wake


class Submit(Command[Submitted | StoredTask], frozen=True):
    """Accept a task that the door has checked and encoded. Reply: `Submitted`, once it is on disk.

    `key` is the digest of an idempotency key and `body` the digest of the task: if the key was
    used before for the same task, the reply is that task, `StoredTask`; for another, `Conflict`.
    `ollama_only` is the field that only Ollama servers support, and why; None if any server can
    run it. With `listed`, the reply is `NotFound` if all backends that may run it have listed
    their models without this one; otherwise the task waits for a while. `expires_in` sets its
    deadline, so many seconds from its acceptance.
    """

    new: NewTask
    spec: bytes
    key: bytes | None = None
    body: bytes = b""
    ollama_only: tuple[str, str] | None = None
    listed: bool = False
    expires_in: float | None = None

    @property
    def is_restricted(self) -> bool:
        """Whether some backends may not run it, whatever their models."""
        return bool(self.new.backend or self.new.remote_execution or self.ollama_only)


class SubmitCronRun(ChangeCommand[Submitted], frozen=True):
    """Submit the task of a cron that is due, or is run by hand. Reply: `Submitted`, once it is on
    disk.

    `cron` has its following run set already; both are saved in one commit, so that no run is
    repeated or skipped. `ticker` is told `CronFired` in any case.
    """

    submit: Submit
    cron: Cron
    ticker: Any
    by_hand: bool = False


class CheckCapacity(Command[bool], frozen=True):
    """Check whether so many more tasks and bytes may wait. Reply: True, or `QueueFull`."""

    tasks: int
    size: int


class RestrictedRoute(Struct, frozen=True):
    """A route that some backends may not run, and the first task of a batch that has it."""

    index: int
    route: str
    ollama_only: tuple[str, str] | None


class SubmitBatch(Command[BatchSubmitted], frozen=True):
    """Accept all of these tasks or none. Reply: `BatchSubmitted`, once they are on disk.

    `packs` hold `count` encoded drafts, with specs of `size` bytes. The receiver empties it as it
    goes, so that nothing keeps the bytes longer than needed. `key` and `body` are as in `Submit`;
    for a known key the reply is that batch, with `created` False. `batch` is the batch that the
    tasks belong to, if it exists already. `turns` has a number for each task: lower ones
    run first, equal ones in the order given, as do all if it is empty. `earliest` is the index and
    the instant of the earliest deadline, if any task has one. `tenant` is that of all tasks, None
    if they differ.
    """

    packs: deque[bytes]
    count: int
    size: int
    restricted: tuple[RestrictedRoute, ...] = ()
    key: bytes | None = None
    body: bytes = b""
    batch: Batch | None = None
    turns: Sequence[int] = ()
    earliest: tuple[int, datetime] | None = None
    tenant: str | None = None


class ClaimKey(Command[str], frozen=True):
    """Note that an idempotency key belongs to a batch. Reply: the batch that it belongs to, which
    may be an earlier one; `Conflict` if that had another `body`."""

    key: bytes
    body: bytes
    batch_id: str


class LoadBatch(Struct, frozen=True):
    """Prepare the next slice of a batch: the previous one is written."""

    batch_id: str


class BatchStored(Struct, frozen=True):
    """All of a batch is written."""

    batch_id: str


class EnqueueBatch(Struct, frozen=True):
    """Enqueue the next slice of a stored batch (the scheduler tells itself)."""

    batch_id: str


class Cancel(ChangeCommand[Record], frozen=True):
    """End a pending or running task. Reply: its `Record`, once it is on disk.

    `reason` is kept as the task's error.
    """

    task_id: str
    reason: str | None = None


class Reprioritize(ChangeCommand[Record], frozen=True):
    """Change a live task's priority. Reply: its `Record`, once it is on disk."""

    task_id: str
    priority: int


class Retry(ChangeCommand[Record], frozen=True):
    """Requeue a failed or cancelled task. Reply: its `Record`, once it is on disk.

    A deadline that has passed is dropped; `expires_in` sets a new one, in seconds from now.
    """

    task_id: str
    expires_in: float | None = None


class Delete(ChangeCommand[Record], frozen=True):
    """Delete a finished task. Reply: its last `Record`, once it is gone from disk.

    With `seq`, only if it has not changed since: else `NotFound`.
    """

    task_id: str
    seq: int | None = None

    def means(self, record: Record) -> bool:
        return self.seq in (None, record.seq)


class Fetched(Command[Record], frozen=True):
    """What Persistence has of a task that the plan does not know; None if nothing.

    Reply: that to `command`, to its sender.
    """

    command: Retry | Delete
    record: Record | None


class Finished(Struct, frozen=True):
    """The call in this slot has ended, successfully or not."""

    slot: int
    task_id: str
    attempt: int
    outcome: Outcome


class WorkerLost(Struct, frozen=True):
    """A worker has crashed: number `incarnation` of this queue, in this slot."""

    slot: int
    incarnation: int
    error: str


class ServersSeen(Struct, frozen=True):
    """The other servers that make calls for this one, by id, and how many at once each."""

    slots: dict[str, int]


class CallsEnded(Struct, frozen=True):
    """Calls that other servers have made have ended, by their keys."""

    ends: tuple[tuple[str, CallEnd], ...]


class BackendProbed(Struct, frozen=True):
    """A backend was probed; this is its state."""

    backend: str
    result: ProbeResult


class ModelKept(Struct, frozen=True):
    """A backend has loaded a model that it is to keep in memory, or not: `error` says why."""

    backend: str
    model: str
    error: str | None = None


class DrainBackend(ChangeCommand[BackendState], frozen=True):
    """Stop sending calls to a backend, or (`value` False) resume. Reply: its `BackendState`, once
    it is on disk; `NotFound`."""

    backend: str
    value: bool


class Pause(ChangeCommand[bool], frozen=True):
    """Stop dispatching. Reply: True, once it is on disk."""


class Resume(ChangeCommand[bool], frozen=True):
    """Resume dispatching. Reply: True, once it is on disk."""


class AddAccessKey(ChangeCommand[KeyInfo], frozen=True):
    """Add an API key. Reply: `KeyInfo`, once it is on disk, or `Conflict`."""

    key: AccessKey


class RotateAccessKey(ChangeCommand[KeyInfo], frozen=True):
    """Replace the key of a name. Reply: `KeyInfo`, once it is on disk; `NotFound`, `Conflict`."""

    name: str
    digest: bytes
    hint: str


class RevokeAccessKey(ChangeCommand[KeyInfo], frozen=True):
    """Delete a key. Reply: its last `KeyInfo`, once it is gone; `NotFound`, `Conflict`."""

    name: str


class ListAccessKeys(Command[tuple[list[KeyInfo], list[Grant]]], frozen=True):
    """Reply: all keys as they are shown, by name, and what each allows."""


class GetBudgets(Command[list[Budget]], frozen=True):
    """Reply: what is left of a tenant's budgets."""

    tenant: str


class Explain(Command[dict[str, Waiting]], frozen=True):
    """Explain why these tasks wait. Reply: `{task_id: Waiting}` of those that do."""

    task_ids: tuple[str, ...]


class GetWaitReasons(Command[WaitReasons], frozen=True):
    """Reply: `WaitReasons`, which explain why any task waits."""


class Describe(Command[PlanState], frozen=True):
    """Describe slots and backends. Reply: `PlanState`; with a `tenant`, of its tasks alone."""

    tenant: str | None = None


class MeasurePlan(Command[PlanMeasures], frozen=True):
    """Reply: `PlanMeasures`."""


class Drain(Command[bool], frozen=True):
    """Start no more tasks; stop running ones after `grace_s` seconds. Reply: True, once each
    running task is saved as ended or pending. Sent again, it can only shorten the grace."""

    grace_s: float


ToScheduler = (
    Submit
    | SubmitCronRun
    | CheckCapacity
    | SubmitBatch
    | ClaimKey
    | LoadBatch
    | BatchStored
    | EnqueueBatch
    | Cancel
    | Reprioritize
    | Retry
    | Delete
    | Fetched
    | Finished
    | WorkerLost
    | ServersSeen
    | CallsEnded
    | BackendProbed
    | ModelKept
    | DrainBackend
    | Pause
    | Resume
    | AddAccessKey
    | RotateAccessKey
    | RevokeAccessKey
    | ListAccessKeys
    | GetBudgets
    | Explain
    | GetWaitReasons
    | Describe
    | MeasurePlan
    | Drain
    | Wake
)
