"""Replies of Persistence."""

from datetime import datetime

from msgspec import Struct, field

from ..model.access_keys import AccessKey, TenantUsage
from ..model.crons import Cron
from ..model.deliveries import StoredDelivery
from ..model.entry import Entry, KeyUse
from ..model.orders import AssignedCall
from ..model.tasks import Batch, Record, TaskType


class StoredTask(Struct, frozen=True):
    """A task as it is stored; `spec` and `result` are JSON."""

    record: Record
    spec: bytes
    result: bytes | None


class CallSpec(Struct, frozen=True):
    """The model and request of a call; `spec` is the task's `Spec` as JSON, `traceparent` the
    trace that the task belongs to."""

    type: TaskType
    model: str
    spec: bytes
    traceparent: str | None = None


class BatchLines(Struct, frozen=True):
    """The next tasks of a batch; `after` is the position to continue from, None after the last."""

    lines: list[StoredTask]
    after: str | None


class LiveTasks(Struct, frozen=True):
    """Pending and running tasks of a batch; `after` as in `BatchLines`."""

    task_ids: tuple[str, ...]
    after: str | None


class DueDeliveries(Struct, frozen=True):
    """Deliveries to make, and when the first of the others is due, None if none waits.

    `rest`: the receiver to continue from; None: all have been looked at. `waiting` is the number of
    all that wait.
    """

    deliveries: list[StoredDelivery]
    next_due: datetime | None
    rest: str | None
    waiting: int = 0


class Page(Struct):
    """A page of a list; `specs` and `results` (JSON) are by id, if requested.

    `cursor` None: there are no more. `total`: the number of matches, if known without reading them.
    """

    records: list[Record] = field(default_factory=list)
    specs: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    cursor: str | None = None
    total: int | None = None


class Recovered(Struct, frozen=True):
    """Everything that a plan starts from. `last_us`: the instant of the newest id, in microseconds;
    `last_at`: when that task was accepted, in seconds since 1970. They differ after a clock was set
    back, or a leader's clock was ahead.

    `access_keys` are the API keys that requests have added, `usages` what tenants have used of
    their budgets, `jobs` the batches from files that have not ended, `calls` those that other
    servers make.
    """

    waiting: list[Entry]
    running: list[Entry]
    keys: list[tuple[bytes, KeyUse]]
    flags: dict[str, bool]
    last_us: int
    crons: list[Cron] = []
    jobs: list[Batch] = []
    access_keys: list[AccessKey] = []
    usages: dict[str, TenantUsage] = {}
    calls: list[AssignedCall] = []
    last_at: float = 0.0
