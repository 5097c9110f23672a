"""What Persistence answers."""

from msgspec import Struct, field

from ..model.crons import Cron
from ..model.entry import Entry, KeyUse
from ..model.tasks import Record, TaskType


class StoredTask(Struct, frozen=True):
    """A task as it lies on disk; `spec` and `result` are JSON."""

    record: Record
    spec: bytes
    result: bytes | None


class CallSpec(Struct, frozen=True):
    """What a call asks of which model; `spec` is the task's `Spec` as JSON."""

    type: TaskType
    model: str
    spec: bytes


class Page(Struct):
    """A page of a list, `specs` and `results` (JSON) by id where they were asked for.

    `cursor` None: there is no more. `total`: how many are wanted, if known without reading them.
    """

    records: list[Record] = field(default_factory=list)
    specs: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    cursor: str | None = None
    total: int | None = None


class Recovered(Struct, frozen=True):
    """All that a plan is made from. `last_us`: when the newest task was accepted.

    `hidden` are the tasks of batches that a crash has cut, where they cannot be deleted yet.
    """

    waiting: list[Entry]
    running: list[Entry]
    keys: list[tuple[bytes, KeyUse]]
    flags: dict[str, bool]
    last_us: int
    crons: list[Cron] = []
    hidden: dict[str, list[Record]] = {}
