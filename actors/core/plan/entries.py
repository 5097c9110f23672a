"""What the plan knows of each task that waits or runs."""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from ..model.tasks import Record


class Entry(Struct, gc=False, array_like=True, omit_defaults=False):
    """One task; also the value of its status index, so that a boot reads nothing else.

    Instants are seconds since 1970. `due` is 0 for a task that may run now, and below 0 for one
    that was asked for at that instant, which has come. `avoid` is the backend on which it failed
    last, `lacking` are those that said that they do not have its model.
    """

    id: str
    route: str
    priority: int
    queued_at: float
    due: float
    attempt: int
    retry_count: int
    max_retries: int
    interruptions: int
    size: int
    timeout_s: float | None
    key: bytes | None
    cron_id: str | None = None
    tenant: str | None = None
    avoid: str | None = None
    lacking: tuple[str, ...] = ()


def entry_of(record: Record) -> Entry:
    """A task's entry, from its record."""
    due = record.next_attempt_at or (None if record.attempt else record.scheduled_at)
    return Entry(
        id=record.id,
        route=record.route,
        priority=record.priority,
        queued_at=record.queued_at.timestamp(),
        due=due.timestamp() if due else 0.0,
        attempt=record.attempt,
        retry_count=record.retry_count,
        max_retries=record.max_retries,
        interruptions=record.interruptions,
        size=record.size,
        timeout_s=record.timeout_s,
        key=record.key,
        cron_id=record.cron_id,
        tenant=record.tenant,
        avoid=record.avoid,
        lacking=record.lacking,
    )


class Entries(dict[str, Entry]):
    """The tasks that wait or run, by id, and how many of them are of which cron."""

    def __init__(self) -> None:
        super().__init__()
        self._of_cron: Counter[str] = Counter()

    def __setitem__(self, task_id: str, entry: Entry) -> None:
        super().__setitem__(task_id, entry)
        if entry.cron_id is not None:
            self._of_cron[entry.cron_id] += 1

    def __delitem__(self, task_id: str) -> None:
        cron_id = self[task_id].cron_id
        super().__delitem__(task_id)
        if cron_id is not None:
            self._of_cron[cron_id] -= 1
            if not self._of_cron[cron_id]:
                del self._of_cron[cron_id]

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self[entry.id] = entry

    def of_cron(self, cron_id: str) -> int:
        return self._of_cron[cron_id]
