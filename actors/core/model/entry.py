"""What the plan keeps of a task and of an idempotency key, in memory and on disk."""

from msgspec import Struct

from .tasks import Record


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


class KeyUse(Struct, frozen=True, gc=False, array_like=True):
    """What a key stands for: a task, the digest of what was asked, and when (seconds)."""

    task_id: str
    body: bytes
    accepted_at: float
