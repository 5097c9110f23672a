"""What the plan keeps of tasks and idempotency keys, in memory and on disk."""

from msgspec import Struct

from .tasks import Record


class Entry(Struct, gc=False, array_like=True, omit_defaults=False):
    """One task; also stored as the value of its status row, so that a boot reads nothing else.

    Times are seconds since 1970. `due` is 0 for a task that may run now, and negative for one
    that was scheduled for that time, which has passed. `avoid` is the backend on which it failed
    last; `lacking` are those that reported not to have its model. `start_within` is in seconds.
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
    deadline: float | None = None
    start_within: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it may expire."""
        return self.deadline is not None or self.start_within is not None

    @property
    def expires_at(self) -> float | None:
        """When it expires unless it starts or ends before; None if it does not."""
        if self.start_within is None or self.attempt:
            return self.deadline
        start_by = max(self.queued_at, abs(self.due)) + self.start_within
        return start_by if self.deadline is None else min(start_by, self.deadline)


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
        deadline=record.deadline.timestamp() if record.deadline else None,
        start_within=record.start_within,
    )


class KeyUse(Struct, frozen=True, gc=False, array_like=True):
    """What a key was used for: a task, the digest of its body, and when (seconds since 1970)."""

    task_id: str
    body: bytes
    accepted_at: float
