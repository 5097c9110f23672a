"""What the plan keeps of tasks and idempotency keys, in memory and on disk."""

from msgspec import Struct

from .tasks import Record


class Entry(Struct, gc=False, array_like=True, omit_defaults=False):
    """One task; also stored as the value of its status row, so that a boot reads nothing else.

    Times are seconds since 1970. `due` is 0 for a task that may run now, and negative for one
    that was scheduled for that time, which has passed. `avoid` is the backend on which it failed
    last; `lacking` are those that reported not to have its model.
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
    """Make a task's entry from its record."""
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
    """What a key was used for: a task, the digest of its body, and when (seconds since 1970)."""

    task_id: str
    body: bytes
    accepted_at: float
