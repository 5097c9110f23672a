"""To Persistence: what to make durable, and what to read."""

from datetime import datetime
from typing import Any, Generic

from msgspec import Struct

from ..model.orders import Insert, Save
from ..model.stats import Counts
from ..model.task_filter import TaskFilter, WaitReasons
from ..model.tasks import Batch, BatchSubmitted, Record
from .command import Command, Reply
from .replies import CallSpec, Page, Recovered, StoredTask
from .scheduler import Delete, Retry


class Commit(Command[Reply], Generic[Reply], frozen=True):
    """Make these durable, all or none. Reply, once they are: `reply`."""

    saves: tuple[Save, ...]
    at: datetime
    reply: Reply


class CommitChange(Command[Record], frozen=True):
    """The same of saves that the change of a task leads. Reply, once they are durable: its
    changed `Record`."""

    saves: tuple[Save, ...]
    at: datetime


class StoreSlice(Command[BatchSubmitted], frozen=True):
    """Write a slice of a batch; nobody sees any of it before the last one has come.

    Reply to the last: `BatchSubmitted`, once all is durable; `scheduler` is told `BatchStored`, of
    the others `LoadBatch`.
    """

    batch: Batch
    inserts: tuple[Insert, ...]
    is_last: bool
    scheduler: Any
    key: bytes | None = None
    body: bytes = b""


class GetBatch(Command[Batch], frozen=True):
    """Reply: `Batch`, or `NotFound`."""

    batch_id: str


class FindBatch(Command[BatchSubmitted], frozen=True):
    """A batch was submitted again. Reply: `BatchSubmitted` with `created` False."""

    batch_id: str


class ListBatches(Command[list[Batch]], frozen=True):
    """Reply: the newest `limit` batches."""

    limit: int


class GetTask(Command[StoredTask], frozen=True):
    """Reply: `StoredTask`, or `NotFound`; nothing that a crash could take back."""

    task_id: str


class GetSpec(Command[CallSpec], frozen=True):
    """What is a call to ask? Reply: `CallSpec`, from the unwritten batch if it is there."""

    task_id: str


class ListTasks(Command[Page], frozen=True):
    """Reply: `Page`; `Invalid` for a bad cursor. `reasons` where the filter asks for them."""

    filter: TaskFilter
    reasons: WaitReasons | None = None


class FindExpired(Command["Expired"], frozen=True):
    """Which ended tasks are beyond the newest `keep`, or ended before `before`? The oldest first.

    Reply: `Expired`. A look goes on behind `after`, the place of a task in the order of their
    ends; `passed` tasks up to there are to stay.
    """

    keep: int
    before: datetime | None
    after: str = ""
    passed: int = 0


class Expired(Struct, frozen=True):
    """Tasks to delete, and where to look on; `rest` None: there is nothing more."""

    deletes: tuple[Delete, ...]
    rest: FindExpired | None


class CountTasks(Command[Counts], frozen=True):
    """Reply: `Counts`."""


class RejectChange(Command[Record], frozen=True):
    """The plan does not know this task. Reply: `NotFound`, or `Conflict` saying what it is."""

    task_id: str
    action: str


class Fetch(Command[Record], frozen=True):
    """Send `Fetched` to `scheduler`, together with the promise of whoever asked."""

    command: Retry | Delete
    scheduler: Any


class Recover(Command[Recovered], frozen=True):
    """Reply: `Recovered`, all that a plan is made from."""


class Synced(Struct, frozen=True):
    """The fsync in flight has ended; `error` is None when it went well."""

    error: str | None


class Scanned(Struct, frozen=True):
    """A scan has ended, `ticket` being its number."""

    ticket: int
    found: object
    error: str | None


ToPersistence = (
    Commit[Any]
    | CommitChange
    | StoreSlice
    | GetTask
    | GetSpec
    | GetBatch
    | FindBatch
    | ListBatches
    | ListTasks
    | FindExpired
    | CountTasks
    | RejectChange
    | Fetch
    | Recover
    | Synced
    | Scanned
)
