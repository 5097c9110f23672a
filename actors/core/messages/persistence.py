"""To Persistence: what to make durable, and what to read."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic

from msgspec import Struct

from ..activity.audit import AuditNote, AuditPage, AuditQuery
from ..activity.failure_tallies import FailureTallies
from ..activity.failures import FailureGroup
from ..activity.history import MinuteTallies
from ..activity.measures import DiskMeasures
from ..activity.reports import HistoryQuery, UsageQuery
from ..model.deliveries import DeliveryPage, StoredDelivery
from ..model.files import FilePage, StoredFile
from ..model.orders import Insert, Run, Save, Stop
from ..model.stats import Counts, Period, StoreSnapshot, UsageReport
from ..model.task_filter import TaskFilter, WaitReasons
from ..model.tasks import Batch, BatchSubmitted, Record
from .command import ChangeCommand, Command, Reply
from .replies import BatchLines, DueDeliveries, LiveTasks, Page, Recovered, StoredTask
from .scheduler import Delete, Retry

Calls = tuple[tuple[Any, Run | Stop], ...]
"""Orders about calls, each with the worker (a ref) that it is for."""


class Commit(Command[Reply], Generic[Reply], frozen=True):
    """Make these durable, all or none. Reply: `reply`, once they are.

    The orders of `calls` are passed on to their workers at once, each `Run` as a `StartCall` with
    what the call asks.
    """

    saves: tuple[Save, ...]
    at: datetime
    reply: Reply
    calls: Calls = ()


class CommitChange(Command[Record], frozen=True):
    """Make these durable, the first being the change of a task. Reply: its changed `Record`, once
    they are. `calls` are as in `Commit`."""

    saves: tuple[Save, ...]
    at: datetime
    calls: Calls = ()


class StoreSlice(Command[BatchSubmitted], frozen=True):
    """Write a slice of a batch; it is invisible until the last one is written.

    Reply to the last: `BatchSubmitted`, once all is durable; `scheduler` is told `BatchStored`, and
    `LoadBatch` after each of the others.
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
    """Find a batch that was submitted again. Reply: `BatchSubmitted` with `created` False."""

    batch_id: str


class ListBatches(Command[list[Batch]], frozen=True):
    """Reply: the newest `limit` batches; with a `tenant`, of those of it."""

    limit: int
    tenant: str | None = None


class ListJobs(Command[list[Batch]], frozen=True):
    """Reply: the newest `limit` batches from files, newest first, older than the batch `before` if
    it is set; of the endpoint `endpoint` and the tenant `tenant` if they are set. With `after`,
    those just newer than it."""

    limit: int
    before: str = ""
    endpoint: str = ""
    after: str = ""
    tenant: str | None = None


class AwaitBatch(Command[Batch], frozen=True):
    """Reply: `Batch`, once all of its tasks have ended, durably; `NotFound` if there is none."""

    batch_id: str


class ReadLines(Command[BatchLines], frozen=True):
    """Read the next lines of a batch from a file, after the task `after`. Reply: `BatchLines`."""

    batch_id: str
    after: str = ""


class FindLiveTasks(Command[LiveTasks], frozen=True):
    """Find the next tasks of a batch that have not ended, after the task `after`. Reply:
    `LiveTasks`."""

    batch_id: str
    after: str = ""


class FindForgottenBatches(Command[tuple[str, ...]], frozen=True):
    """Find the batches from files that ended before `before` and have no tasks left. Reply: their
    ids."""

    before: datetime


class GetTask(Command[StoredTask], frozen=True):
    """Reply: `StoredTask`, or `NotFound`; only what is durable."""

    task_id: str


class GetTenants(Command[dict[str, str | None]], frozen=True):
    """Reply: the tenant of each of these tasks that exists. A task never changes its tenant."""

    task_ids: tuple[str, ...]


class ListTasks(Command[Page], frozen=True):
    """Reply: `Page`; `Invalid` for a bad cursor. `reasons` is set if the filter needs them."""

    filter: TaskFilter
    reasons: WaitReasons | None = None


class FindExpired(Command["Expired"], frozen=True):
    """Find finished tasks beyond the newest `keep`, or that ended before `before`, oldest first.

    Reply: `Expired`. It continues after `after`, the position of a task in the order of ends;
    `passed` tasks up to there are kept.
    """

    keep: int
    before: datetime | None
    after: str = ""
    passed: int = 0


class Expired(Struct, frozen=True):
    """Tasks to delete, and where to continue; `rest` None: there are no more."""

    deletes: tuple[Delete, ...]
    rest: FindExpired | None


class CountTasks(Command[Counts], frozen=True):
    """Reply: `Counts`; with a `tenant`, of its tasks alone."""

    tenant: str | None = None


class MeasureDisk(Command[DiskMeasures], frozen=True):
    """Reply: `DiskMeasures`."""


class RejectChange(Command[Record], frozen=True):
    """Refuse to change a task that the plan does not know. Reply: `NotFound` or `Conflict`."""

    task_id: str
    action: str


class Fetch(Command[Record], frozen=True):
    """Send `Fetched` to `scheduler`, together with the caller's promise."""

    command: Retry | Delete
    scheduler: Any


class Recover(Command[Recovered], frozen=True):
    """Reply: `Recovered`, everything that a plan starts from."""


class AddFile(Command[StoredFile], frozen=True):
    """Save a file whose bytes are durable. Reply: its record, once that is too; `Unavailable` if
    the bytes have gone, as the queue has restarted meanwhile."""

    file: StoredFile


class GetFile(Command[StoredFile], frozen=True):
    """Reply: `StoredFile`, or `NotFound`."""

    file_id: str


class ListFiles(Command[FilePage], frozen=True):
    """Reply: at most `limit` files after the file `after` (its id), newest first or `ascending`;
    with a `purpose` or `tenant`, only those of it. `NotFound` if there is no file `after`."""

    limit: int
    after: str = ""
    purpose: str = ""
    ascending: bool = False
    tenant: str | None = None


class DeleteFile(ChangeCommand[StoredFile], frozen=True):
    """Delete a file. Reply: its last record, once that is gone, or `NotFound`."""

    file_id: str


class FindExpiredFiles(Command[tuple[str, ...]], frozen=True):
    """Find the files whose time has passed. Reply: their ids."""

    now: datetime


class AddAudit(Command[bool], frozen=True):
    """Save this entry of the audit log, ahead of a change that has no commit of its own. Reply:
    True, once it is on disk."""

    note: AuditNote


class ReadAudit(Command[AuditPage], frozen=True):
    """Reply: the entries that match."""

    query: AuditQuery


class AddHistory(Struct, frozen=True):
    """Add these counts to the rows of history; the next commit makes them durable."""

    parts: tuple[MinuteTallies, ...]


class ReadHistory(Command[list[Period]], frozen=True):
    """Reply: the periods that match."""

    query: HistoryQuery


class ReadUsage(Command[UsageReport], frozen=True):
    """Reply: what tasks used."""

    query: UsageQuery


class ListFailures(Command[list[FailureGroup]], frozen=True):
    """Reply: the `limit` largest groups of failed tasks; with `tenant`, of its tasks."""

    limit: int
    tenant: str | None = None


class FailuresCounted(Struct, frozen=True):
    """Some failed tasks have been read, or could not be. `count` counts the next, unless `tallies`
    has all."""

    count: Callable[[], FailureTallies | None]
    tallies: FailureTallies | None
    error: str | None


class WatchDeliveries(Struct, frozen=True):
    """Tell `sender` a `Wake` whenever there are new deliveries, once they are durable."""

    sender: Any


class FindDueDeliveries(Command[DueDeliveries], frozen=True):
    """Find the deliveries that are due at `now`, to receivers after `after`."""

    now: datetime
    after: str = ""


class GetDelivery(Command[StoredDelivery], frozen=True):
    """Reply: `StoredDelivery`, or `NotFound`."""

    delivery_id: str


class ListDeliveries(Command[DeliveryPage], frozen=True):
    """Reply: at most `limit` deliveries, newest first: those before `cursor`, of the task
    `task_id`, with the `status`, of the `tenant`, where these are set."""

    limit: int
    cursor: str = ""
    task_id: str = ""
    status: str = ""
    tenant: str | None = None


class FindEndedDeliveries(Command[tuple[str, ...]], frozen=True):
    """Find the oldest deliveries that have ended, before `before` or beyond the newest `keep`.
    Reply: at most `limit` ids."""

    before: datetime
    keep: int
    limit: int


class TakeSnapshot(Command[StoreSnapshot], frozen=True):
    """Copy the whole store within its folder. Reply: `StoreSnapshot`, which replaces the last one;
    `Unavailable` if the disk refuses it."""


class Write(Struct, frozen=True):
    """Write what has gathered. Persistence tells itself, so that all changes at hand are in it."""


class Synced(Struct, frozen=True):
    """The fsync in flight has ended, after `took_s`; `error` is None if it succeeded."""

    error: str | None
    took_s: float | None = None


class Scanned(Struct, frozen=True):
    """A scan has ended; `ticket` is its number."""

    ticket: int
    found: object
    error: str | None


ToPersistence = (
    Commit[Any]
    | CommitChange
    | StoreSlice
    | GetTask
    | GetTenants
    | GetBatch
    | FindBatch
    | ListBatches
    | ListJobs
    | AwaitBatch
    | ReadLines
    | FindLiveTasks
    | FindForgottenBatches
    | ListTasks
    | FindExpired
    | CountTasks
    | MeasureDisk
    | RejectChange
    | Fetch
    | AddFile
    | GetFile
    | ListFiles
    | DeleteFile
    | FindExpiredFiles
    | AddAudit
    | ReadAudit
    | AddHistory
    | ReadHistory
    | ReadUsage
    | TakeSnapshot
    | ListFailures
    | FailuresCounted
    | WatchDeliveries
    | FindDueDeliveries
    | GetDelivery
    | ListDeliveries
    | FindEndedDeliveries
    | Recover
    | Write
    | Synced
    | Scanned
)
