"""To the Scheduler: commands of doors, facts of workers and of the prober."""

from collections import deque
from typing import Any

from msgspec import Struct

from ..model.crons import Cron
from ..model.outcomes import Outcome, ProbeResult
from ..model.stats import BackendState, PlanState, Waiting
from ..model.task_filter import WaitReasons
from ..model.tasks import BatchSubmitted, NewTask, Record, Submitted
from .command import Command
from .replies import StoredTask
from .wake import Wake


class Submit(Command[Submitted | StoredTask], frozen=True):
    """Take on a task, checked and encoded by the door. Reply: `Submitted`, once it is on disk.

    `key` is the digest of an idempotency key and `body` that of what is asked: with a key that
    was used before for the same task the reply is that task, `StoredTask`; for another, `Conflict`.
    `ollama_only` is the field that only an Ollama server can be asked for, and why; None if any
    can. With `listed` the reply is `NotFound` if all backends that may run it have said which
    models they have, and none has this one; otherwise it waits for a while.
    """

    new: NewTask
    spec: bytes
    key: bytes | None = None
    body: bytes = b""
    ollama_only: tuple[str, str] | None = None
    listed: bool = False

    @property
    def is_restricted(self) -> bool:
        """Not every backend may run it, whatever models they have."""
        return bool(self.new.backend or self.new.remote_execution or self.ollama_only)


class SubmitCronRun(Command[Submitted], frozen=True):
    """Submit the task of a cron that is due, or is run by hand. Reply: `Submitted`, once it is on
    disk.

    `cron` has the run after this one as its next already; both are saved in one commit, so that
    no instant is run twice or left out. `ticker` is told `CronFired`, whatever came of it.
    """

    submit: Submit
    cron: Cron
    ticker: Any
    by_hand: bool = False


class CheckCapacity(Command[bool], frozen=True):
    """Might so many more tasks of so many bytes wait? Reply: True, or `QueueFull`."""

    tasks: int
    size: int


class RestrictedRoute(Struct, frozen=True):
    """A route that not every backend may run, and the first task of a batch that has it."""

    index: int
    route: str
    ollama_only: tuple[str, str] | None


class SubmitBatch(Command[BatchSubmitted], frozen=True):
    """Take on all of these or none. Reply: `BatchSubmitted`, once they are on disk.

    `packs` hold `count` drafts of tasks, encoded; what they ask is of `size` bytes. Whoever takes
    them on empties it on the way, so that nobody holds a byte for longer than it is needed.
    `key` and `body` as in `Submit`; known again, the reply is that batch, `created` False.
    """

    packs: deque[bytes]
    count: int
    size: int
    restricted: tuple[RestrictedRoute, ...] = ()
    key: bytes | None = None
    body: bytes = b""


class LoadBatch(Struct, frozen=True):
    """Prepare the next slice of a batch: the one before is written."""

    batch_id: str


class BatchStored(Struct, frozen=True):
    """All of a batch is written."""

    batch_id: str


class EnqueueBatch(Struct, frozen=True):
    """Let the next slice of a stored batch wait its turn (the scheduler tells itself)."""

    batch_id: str


class Cancel(Command[Record], frozen=True):
    """End a pending or running task. Reply: its `Record`, once it is on disk."""

    task_id: str


class Reprioritize(Command[Record], frozen=True):
    """Change a live task's priority. Reply: its `Record`, once it is on disk."""

    task_id: str
    priority: int


class Retry(Command[Record], frozen=True):
    """Run a failed or cancelled task anew. Reply: its `Record`, once it is on disk."""

    task_id: str


class Delete(Command[Record], frozen=True):
    """Forget an ended task. Reply: its last `Record`, once it is gone from disk.

    With `seq`, only if it has not changed since: else `NotFound`.
    """

    task_id: str
    seq: int | None = None

    def means(self, record: Record) -> bool:
        return self.seq in (None, record.seq)


class Fetched(Command[Record], frozen=True):
    """What Persistence has of a task that the plan does not know; None if nothing.

    Reply: that to `command`, to whoever gave it.
    """

    command: Retry | Delete
    record: Record | None


class Finished(Struct, frozen=True):
    """The call in this slot has ended, well or badly."""

    slot: int
    task_id: str
    attempt: int
    outcome: Outcome


class WorkerLost(Struct, frozen=True):
    """A worker has crashed: the `incarnation`-th of this queue, in this slot."""

    slot: int
    incarnation: int
    error: str


class BackendProbed(Struct, frozen=True):
    """A backend was probed; this is how it is now."""

    backend: str
    result: ProbeResult


class DrainBackend(Command[BackendState], frozen=True):
    """Give a backend no more calls, or (`value` False) some again. Reply: its `BackendState`, once
    it is on disk; `NotFound`."""

    backend: str
    value: bool


class Pause(Command[bool], frozen=True):
    """Stop dispatching. Reply: True, once it is on disk."""


class Resume(Command[bool], frozen=True):
    """Go on dispatching. Reply: True, once it is on disk."""


class Explain(Command[dict[str, Waiting]], frozen=True):
    """Why do these tasks wait? Reply: `{task_id: Waiting}` of those that do."""

    task_ids: tuple[str, ...]


class GetWaitReasons(Command[WaitReasons], frozen=True):
    """By what is told why a task waits? Reply: `WaitReasons`."""


class Describe(Command[PlanState], frozen=True):
    """How do slots and backends stand? Reply: `PlanState`."""


class Drain(Command[bool], frozen=True):
    """Start no more tasks; stop running ones after `grace_s` seconds. Reply: True, once each
    running task is saved as ended or pending. Told again, it may only shorten that."""

    grace_s: float


ToScheduler = (
    Submit
    | SubmitCronRun
    | CheckCapacity
    | SubmitBatch
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
    | BackendProbed
    | DrainBackend
    | Pause
    | Resume
    | Explain
    | GetWaitReasons
    | Describe
    | Drain
    | Wake
)
