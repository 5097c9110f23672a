"""All messages between actors, grouped by who receives them: read it and you know the system.

Each is a frozen value. A command names its reply; what has no reply is told, never asked.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from ollama_queue.actors.core.outcomes import Outcome
from ollama_queue.actors.core.records import Attempt, Event, NewTask, Record, TaskFilter, TaskType

# --- to the Scheduler ---------------------------------------------------------------------------


class Submit(Struct, frozen=True):
    """Take on a task, checked and encoded by the door. Reply: `Submitted`, once it is on disk.

    `key` is the digest of an idempotency key and `body` that of what is asked: with a key that
    was used before for the same task the reply is that task, `Stored`; for another, `Conflict`.
    """

    new: NewTask
    spec: bytes
    key: bytes | None = None
    body: bytes = b""


class Cancel(Struct, frozen=True):
    """End a pending or running task. Reply: its `Record`, once it is on disk."""

    task_id: str


class Reprioritize(Struct, frozen=True):
    """Change a live task's priority. Reply: its `Record`, once it is on disk."""

    task_id: str
    priority: int


class Finished(Struct, frozen=True):
    """The call in this slot has ended, well or badly."""

    slot: int
    task_id: str
    attempt: int
    outcome: Outcome


class WorkerLost(Struct, frozen=True):
    """A worker has crashed: the `hired`-th of this queue, in this slot."""

    slot: int
    hired: int
    error: str


class BackendChanged(Struct, frozen=True):
    """A probe found a backend well again."""

    backend: str


class Pause(Struct, frozen=True):
    """Stop dispatching. Reply: None, once it is on disk."""


class Resume(Struct, frozen=True):
    """Go on dispatching. Reply: None, once it is on disk."""


class Explain(Struct, frozen=True):
    """Why do these tasks wait? Reply: `{task_id: Waiting}` of those that do."""

    task_ids: tuple[str, ...]


class Describe(Struct, frozen=True):
    """How do slots and backends stand? Reply: `PlanState`."""


class Drain(Struct, frozen=True):
    """Start no more tasks; stop running ones after `grace` seconds. Reply: None, once each
    running task is saved as ended or pending."""

    grace_s: float


class Wake(Struct, frozen=True):
    """The time that an actor asked to be woken at has come."""


ToScheduler = (
    Submit
    | Cancel
    | Reprioritize
    | Finished
    | WorkerLost
    | BackendChanged
    | Pause
    | Resume
    | Explain
    | Describe
    | Drain
    | Wake
)

# --- to a Worker --------------------------------------------------------------------------------


class Run(Struct, frozen=True):
    """Make this call (the slot is the worker's own)."""

    slot: int
    task_id: str
    attempt: int
    backend: str
    timeout_s: float | None = None


class Stop(Struct, frozen=True):
    """End that call; its `Finished` still comes."""

    slot: int
    task_id: str
    attempt: int


class ChunksReady(Struct, frozen=True):
    """The call has pieces to hand on, or the event bus has taken the last ones."""


class CallEnded(Struct, frozen=True):
    """The call has come back; with `error` (and no outcome) because the executor broke."""

    outcome: Outcome | None
    error: str = ""


ToWorker = Run | Stop | ChunksReady | CallEnded | Wake

# --- to the CronTicker --------------------------------------------------------------------------

ToCronTicker = Wake

# --- to Persistence -----------------------------------------------------------------------------


class Insert(Struct, frozen=True):
    """A new task: its record, its `Spec` as JSON; with a key, the digest of what is asked."""

    record: Record
    spec: bytes
    body: bytes = b""


class Change(Struct, frozen=True):
    """Fields of a task's record that change, the event that says so, an attempt that ended."""

    task_id: str
    fields: Mapping[str, Any]
    event: str
    ended: Attempt | None = None
    result: bytes | None = None


class Remove(Struct, frozen=True):
    """Delete an ended task, and its key."""

    task_id: str


class SetFlag(Struct, frozen=True):
    """A switch of the whole queue that survives a restart."""

    name: str
    value: bool
    event: str


class DropKey(Struct, frozen=True):
    """Forget an idempotency key (a digest)."""

    key: bytes


Save = Insert | Change | Remove | SetFlag | DropKey


class Commit(Struct, frozen=True):
    """Make these durable, all or none. Reply, once they are: `reply`, or the changed `Record`
    where `reply` is None and the first of them changed a task."""

    saves: tuple[Save, ...]
    at: datetime
    reply: Any = None


class Get(Struct, frozen=True):
    """Reply: `Stored`, or `NotFound`; nothing that a crash could take back."""

    task_id: str


class GetSpec(Struct, frozen=True):
    """What is a call to ask? Reply: `Asked`, from the unwritten batch if it is there."""

    task_id: str


class Asked(Struct, frozen=True):
    """What a call asks of which model; `spec` is the task's `Spec` as JSON."""

    type: TaskType
    model: str
    spec: bytes


class Query(Struct, frozen=True):
    """Reply: `Page`, newest first."""

    filter: TaskFilter


class Count(Struct, frozen=True):
    """Reply: `Counts`."""


class Deny(Struct, frozen=True):
    """The plan does not know this task. Reply: `NotFound`, or `Conflict` saying what it is."""

    task_id: str
    wanted: str


class Recover(Struct, frozen=True):
    """Reply: `Recovered`, all that a plan is made from."""


class Synced(Struct, frozen=True):
    """The fsync in flight has ended; `error` is None when it went well."""

    error: str | None


class Scanned(Struct, frozen=True):
    """A scan has ended, `ticket` being its number."""

    ticket: int
    page: Any
    error: str | None


ToPersistence = Commit | Get | GetSpec | Query | Count | Deny | Recover | Synced | Scanned

# --- to the EventBus ----------------------------------------------------------------------------


class Publish(Struct, frozen=True):
    """These are on disk now."""

    events: tuple[Event, ...]


class Chunks(Struct, frozen=True):
    """Pieces of a running task's reply, the first of them being number `first`.

    The worker that is `sender` is told `ChunksReady` once they are taken, and sends no more before.
    """

    sender: Any
    task_id: str
    attempt: int
    first: int
    pieces: tuple[Any, ...]


class Subscribe(Struct, frozen=True):
    """Put events into `mailbox`: those named, of the tasks named (None: all). Reply: True."""

    mailbox: Any
    events: frozenset[str] | None = None
    tasks: frozenset[str] | None = None


class Attach(Struct, frozen=True):
    """Put the chunks of a task into `mailbox`, from the first that is still there. Reply: True."""

    mailbox: Any
    task_id: str


class Unsubscribe(Struct, frozen=True):
    """Put nothing more into `mailbox`."""

    mailbox: Any


class Farewell(Struct, frozen=True):
    """Close every mailbox, saying why. Reply: True."""

    reason: str


ToEventBus = Publish | Chunks | Subscribe | Attach | Unsubscribe | Farewell | Wake

# --- to the Prober ------------------------------------------------------------------------------


class Watch(Struct, frozen=True):
    """A backend is out: probe it after `delay_s`, then on and on until it is well."""

    backend: str
    delay_s: float


class Probed(Struct, frozen=True):
    """A probe has ended; `error` is None when the backend is well."""

    error: str | None


ToProber = Watch | Probed | Wake

# --- to System ----------------------------------------------------------------------------------


class Crashed(Struct, frozen=True):
    """An actor of generation `generation` has ended on an error, told as text: an exception
    would keep its traceback, and that the store's lock."""

    actor: str
    generation: int
    error: str


class Shutdown(Struct, frozen=True):
    """Stop everything in order. Reply: None, once all is on disk and closed."""

    grace_s: float


ToSystem = Crashed | Shutdown
