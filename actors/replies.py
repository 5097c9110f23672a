"""What Persistence answers."""

from msgspec import Struct

from ollama_queue.actors.core.records import Record, TaskType


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
