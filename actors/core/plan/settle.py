"""What the end of a call means for its task: the change of its record, and its new entry.

Changes nothing in place: an entry that will wait again is a copy, for the plan to adopt.
"""

from copy import copy
from datetime import UTC, datetime
from typing import Any, assert_never

from msgspec.structs import replace

from ..config.config import RetrySettings
from ..model import limits
from ..model.entry import Entry, entry_of
from ..model.errors import cut
from ..model.lifecycle import become
from ..model.orders import Change
from ..model.outcomes import Answered, Failed, Outcome, Stopped, Verdict
from ..model.tasks import Attempt, ErrorCode, Record, Status, briefly
from ..routing.routes import with_all_models
from .backoff import delay
from .slots import Running

MAX_INTERRUPTIONS = 3


def settle_attempt(
    running: Running,
    outcome: Outcome,
    retry: RetrySettings,
    now: float,
    chance: float,
    other: str | None = None,
) -> tuple[Change, Entry]:
    """How an outcome changes a task: it ends, or waits again (until its entry's `due`).

    `other` is its route without the model of this call, if it has other models."""
    entry = running.entry
    match outcome:
        case Answered(result) as answered:
            ended = attempt_of(running, None, now)
            done = Status.COMPLETED
            return end(entry, done, ended, now, result=result, answered=answered), entry
        case Stopped():
            return put_back(entry, attempt_of(running, "stopped by the queue", now)), entry
        case Failed():
            return _failed(running, outcome, retry, now, chance, other)
        case _:
            assert_never(outcome)


def _failed(
    running: Running,
    failed: Failed,
    retry: RetrySettings,
    now: float,
    chance: float,
    other: str | None,
) -> tuple[Change, Entry]:
    entry, error = copy(running.entry), cut(failed.error, limits.ERROR)
    entry.avoid = backend = running.gate.name
    ended = attempt_of(running, error, now, failed)
    if failed.verdict is Verdict.REFUSED:  # no server accepted it: not counted as a retry
        return put_back(entry, ended, error), entry
    if failed.verdict is Verdict.NO_MODEL and backend not in entry.lacking:
        # Once only: a server may list a model that it refuses.
        entry.lacking = (*entry.lacking, backend)
        return put_back(entry, ended, error), entry
    due = now + delay(retry, entry.retry_count + 1, chance)
    spent = entry.retry_count >= entry.max_retries
    too_late = entry.deadline is not None and due >= entry.deadline
    if failed.verdict in (Verdict.FINAL, Verdict.NO_MODEL) or spent or too_late:
        if other is not None and failed.verdict is not Verdict.FINAL:  # the model is at fault
            entry.route, entry.avoid, entry.lacking = other, None, ()
            return put_back(entry, ended, error, route=other), entry
        return end(entry, Status.FAILED, ended, now, error=error), entry
    entry.retry_count += 1
    entry.due = due
    return put_back(entry, ended, error), entry


def interrupt(entry: Entry, error: str, ended: Attempt | None, now: float) -> tuple[Change, Entry]:
    """A crash of the queue cut the call: 3 are allowed; a fourth suggests the task is the cause."""
    entry = copy(entry)
    entry.interruptions += 1
    if entry.interruptions <= MAX_INTERRUPTIONS:
        return put_back(entry, ended, error), entry
    message = f"interrupted {entry.interruptions} times, the last time because {error}"
    return end(entry, Status.FAILED, ended, now, error=message), entry


def put_back(entry: Entry, ended: Attempt | None, error: str | None = None, **facts: Any) -> Change:
    """Return a running task to the queue, at its old place or until it is due."""
    return _ends_as(
        entry,
        Status.PENDING,
        ended,
        error=_words(error),
        avoid=entry.avoid,
        lacking=entry.lacking,
        next_attempt_at=utc(entry.due) if entry.due else None,
        **facts,
    )


def give_up(entry: Entry, error: str, now: float, code: ErrorCode | None = None) -> Change:
    """Fail a waiting task that no backend will run, or that is late."""
    return become(
        entry.id,
        Status.PENDING,
        Status.FAILED,
        error=_words(error),
        error_code=code,
        completed_at=utc(now),
        next_attempt_at=None,
    )


def revive(record: Record, now: float, expires_in: float | None = None) -> tuple[Change, Entry]:
    """Queue an ended task again, without a deadline that has passed, or with one in `expires_in`
    seconds. Raises `Conflict` for a completed one."""
    deadline = record.deadline
    if expires_in is not None:
        deadline = utc(now + expires_in)
    elif deadline is not None and deadline.timestamp() <= now:
        deadline = None
    facts: dict[str, Any] = {
        "queued_at": utc(now),
        "retry_count": 0,
        "interruptions": 0,
        "error": None,
        "error_code": None,
        "deadline": deadline,
        "avoid": None,
        "lacking": (),
        "started_at": None,
        "completed_at": None,
        "next_attempt_at": None,
        "route": with_all_models(record.route),
        "fallback": None,
    }
    change = become(record.id, record.status, Status.PENDING, **facts)
    return change, entry_of(replace(record, **facts))


def end(
    entry: Entry,
    status: Status,
    ended: Attempt | None,
    now: float,
    *,
    error: str | None = None,
    code: ErrorCode | None = None,
    result: bytes | None = None,
    answered: Answered | None = None,
) -> Change:
    """End a running task."""
    facts: dict[str, Any] = {
        "error": _words(error),
        "prompt_tokens": answered.prompt_tokens if answered else 0,
        "tokens": answered.reply_tokens if answered else 0,
        "completed_at": utc(now),
    }
    if code is not None:
        facts["error_code"] = code
    return _ends_as(entry, status, ended, result=result, **facts)


def _ends_as(
    entry: Entry, status: Status, ended: Attempt | None, result: bytes | None = None, **facts: Any
) -> Change:
    counts = {"retry_count": entry.retry_count, "interruptions": entry.interruptions}
    return become(entry.id, Status.RUNNING, status, ended=ended, result=result, **facts, **counts)


def with_start(change: Change, running: Running) -> Change:
    """Add the adjusted start if the clock was set during the run, so that no task ends before it
    started."""
    if not running.is_moved:
        return change
    started_at = utc(running.started_at)
    return replace(change, fields={**change.fields, "started_at": started_at})


def attempt_of(
    running: Running, error: str | None, now: float, failed: Failed | None = None
) -> Attempt:
    """The attempt that has just ended."""
    return Attempt(
        attempt=running.attempt,
        backend=running.gate.name,
        started_at=utc(running.started_at),
        ended_at=utc(now),
        error=_words(error),
        status=failed.status if failed else None,
        upstream=failed.upstream if failed else None,
        fallback=running.fallback,
    )


def kept(attempts: list[Attempt]) -> list[Attempt]:
    """The attempts that a record keeps: the newest, with older ones shortened."""
    attempts = attempts[-limits.ATTEMPTS :]
    whole = len(attempts) - limits.RECENT
    return [*map(briefly, attempts[:whole]), *attempts[whole:]] if whole > 0 else attempts


def _words(error: str | None) -> str | None:
    return error and cut(error, limits.ERROR)


def cut_attempt(record: Record, error: str, at: datetime) -> Attempt:
    """The attempt of a running task that a crash cut, discovered at the next boot (`at`)."""
    started_at = record.started_at or at
    return Attempt(
        attempt=record.attempt,
        backend=record.executed_on,
        started_at=started_at,
        ended_at=max(started_at, at),
        error=error,
        fallback=record.fallback,
    )


def timestamp(instant: float) -> str:
    """Write seconds since 1970 as a time in UTC, to the second."""
    return f"{utc(instant):%Y-%m-%dT%H:%M:%SZ}"


def utc(instant: float) -> datetime:
    """Convert seconds since 1970 to an aware datetime."""
    return datetime.fromtimestamp(instant, UTC)
