"""What Persistence answers."""

from msgspec import Struct, field

from ..model.tasks import Record, TaskType


class Stored(Struct, frozen=True):
    """A task as it lies on disk; `spec` and `result` are JSON."""

    record: Record
    spec: bytes
    result: bytes | None


class Asked(Struct, frozen=True):
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
