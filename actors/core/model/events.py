"""An event, published only after its change is on disk."""

from datetime import datetime

from msgspec import Struct

from .tasks import Record


class EventRecord(Struct, frozen=True):
    """An event between actors, with the task's record; subscribers receive an `Event`."""

    event: str
    task: Record | None
    at: datetime
    seq: int
    cron_id: str | None = None
    reason: str | None = None
    backend: str | None = None
    tenant: str | None = None  # of a cron; that of a task is in its record
