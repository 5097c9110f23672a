"""All messages between actors, grouped by who receives them: read it and you know the system.

Each is a frozen value. A command names its reply; what has no reply is told, never asked. Those
that are orders of the plan are in `orders.py`.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from ollama_queue.actors.core.orders import Run, Save, Stop, Watch
from ollama_queue.actors.core.outcomes import Outcome
from ollama_queue.actors.core.records import Event, NewTask, Record, TaskFilter

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


class Retry(Struct, frozen=True):
    """Run a failed or cancelled task anew. Reply: its `Record`, once it is on disk."""

    task_id: str


class Delete(Struct, frozen=True):
    """Forget an ended task. Reply: its last `Record`, once it is gone from disk."""

    task_id: str


class Fetched(Struct, frozen=True):
    """What Persistence has of a task that the plan does not know; None if nothing."""

    command: Retry | Delete
    record: Record | None


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
    """Stop dispatching. Reply: True, once it is on disk."""


class Resume(Struct, frozen=True):
    """Go on dispatching. Reply: True, once it is on disk."""


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
    | Retry
    | Delete
    | Fetched
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


class ChunksReady(Struct, frozen=True):
    """The call has pieces to hand on, or the event bus has taken the last ones."""


class CallEnded(Struct, frozen=True):
    """The call has come back; with `error` (and no outcome) because the executor broke."""

    outcome: Outcome | None
    error: str = ""


ToWorker = Run | Stop | ChunksReady | CallEnded | Wake

ToCronTicker = Wake

# --- to Persistence -----------------------------------------------------------------------------


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


class Query(Struct, frozen=True):
    """Reply: `Page`, newest first."""

    filter: TaskFilter


class Count(Struct, frozen=True):
    """Reply: `Counts`."""


class Deny(Struct, frozen=True):
    """The plan does not know this task. Reply: `NotFound`, or `Conflict` saying what it is."""

    task_id: str
    wanted: str


class Fetch(Struct, frozen=True):
    """Send `Fetched` to `scheduler`, together with the promise of whoever asked."""

    command: Retry | Delete
    scheduler: Any


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


ToPersistence = Commit | Get | GetSpec | Query | Count | Deny | Fetch | Recover | Synced | Scanned

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
