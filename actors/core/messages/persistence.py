"""To Persistence: what to make durable, and what to read."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from ..model.orders import Insert, Save
from ..model.task_filter import Reasons, TaskFilter
from ..model.tasks import Batch
from .scheduler import Delete, Retry


class Commit(Struct, frozen=True):
    """Make these durable, all or none. Reply, once they are: `reply`, or the changed `Record`
    where `reply` is None and the first of them changed a task."""

    saves: tuple[Save, ...]
    at: datetime
    reply: Any = None


class StoreSlice(Struct, frozen=True):
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


class GetBatch(Struct, frozen=True):
    """Reply: `Batch`, or `NotFound`."""

    batch_id: str


class FindBatch(Struct, frozen=True):
    """A batch was submitted again. Reply: `BatchSubmitted` with `created` False."""

    batch_id: str


class ListBatches(Struct, frozen=True):
    """Reply: the newest `limit` batches."""

    limit: int


class Get(Struct, frozen=True):
    """Reply: `Stored`, or `NotFound`; nothing that a crash could take back."""

    task_id: str


class GetSpec(Struct, frozen=True):
    """What is a call to ask? Reply: `Asked`, from the unwritten batch if it is there."""

    task_id: str


class ListTasks(Struct, frozen=True):
    """Reply: `Page`; `Invalid` for a bad cursor. `reasons` where the filter asks for them."""

    filter: TaskFilter
    reasons: Reasons | None = None


class FindExpired(Struct, frozen=True):
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
    found: Any
    error: str | None


ToPersistence = (
    Commit
    | StoreSlice
    | Get
    | GetSpec
    | GetBatch
    | FindBatch
    | ListBatches
    | ListTasks
    | FindExpired
    | Count
    | Deny
    | Fetch
    | Recover
    | Synced
    | Scanned
)
