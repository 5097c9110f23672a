"""What the queue did in each of the last sixty minutes, counted from its events."""

from datetime import UTC, datetime

from msgspec import Struct

from .events import EventRecord
from .stats import Minute
from .tasks import ErrorCode, Record, Status

MINUTES = 60
PACE_S = 60  # the period of `throughput`


class _Tally(Struct):
    """The counts of one minute; `minute` is its number since 1970."""

    minute: int = -1
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    started: int = 0
    wait_s: float = 0.0
    longest_s: float = 0.0
    tokens: int = 0
    expired: int = 0


class _Second(Struct):
    """The number of tasks that ended in one second."""

    second: int = -1
    ended: int = 0


class History:
    """Two rings, of minutes and of seconds: counting an event takes constant time.

    It covers what happened since it was created, at `now` (seconds since 1970), nothing older.
    """

    def __init__(self, now: float) -> None:
        self._first = int(now) // 60
        self._minutes = [_Tally() for _ in range(MINUTES)]
        self._seconds = [_Second() for _ in range(PACE_S)]

    def take(self, event: EventRecord) -> None:
        """Count an event. Events without a task's start or end are ignored."""
        task = event.task
        if task is None:
            return
        match event.event:
            case "task_submitted":
                self._minute(event.at).submitted += 1
            case "task_started":
                if task.attempt == 1:
                    self._start(self._minute(event.at), task)
            case "task_completed" | "task_failed" | "task_cancelled":
                self._end(event.at, task)
            case _:
                pass

    def _start(self, tally: _Tally, task: Record) -> None:
        """Count a first start, which ends the task's wait."""
        waited = 0.0
        if task.started_at is not None:
            waited = max(0.0, (task.started_at - task.queued_at).total_seconds())
        tally.started += 1
        tally.wait_s += waited
        tally.longest_s = max(tally.longest_s, waited)

    def _end(self, at: datetime, task: Record) -> None:
        tally = self._minute(at)
        match task.status:
            case Status.COMPLETED:
                tally.completed += 1
                tally.tokens += task.tokens
            case Status.FAILED:
                tally.failed += 1
                tally.expired += task.error_code is ErrorCode.EXPIRED
            case Status.CANCELLED:
                tally.cancelled += 1
            case Status.PENDING | Status.RUNNING:
                pass  # not an end
        second = int(at.timestamp())
        place = self._seconds[second % PACE_S]
        if place.second != second:
            place.second, place.ended = second, 0
        place.ended += 1

    def _minute(self, at: datetime) -> _Tally:
        minute = int(at.timestamp()) // 60
        tally = self._minutes[minute % MINUTES]
        if tally.minute != minute:
            tally = self._minutes[minute % MINUTES] = _Tally(minute)
        return tally

    def minutes(self, now: float) -> list[Minute]:
        """The minutes until `now`, oldest first: at most 60, and none before the start."""
        last = int(now) // 60
        first = min(max(self._first, last - MINUTES + 1), last)
        return [self._shown(minute) for minute in range(first, last + 1)]

    def _shown(self, minute: int) -> Minute:
        tally = self._minutes[minute % MINUTES]
        if tally.minute != minute:
            tally = _Tally(minute)
        return Minute(
            at=datetime.fromtimestamp(minute * 60, UTC),
            submitted=tally.submitted,
            started=tally.started,
            completed=tally.completed,
            failed=tally.failed,
            cancelled=tally.cancelled,
            throughput=tally.completed + tally.failed + tally.cancelled,
            wait_mean_s=round(tally.wait_s / tally.started, 3) if tally.started else None,
            wait_max_s=round(tally.longest_s, 3) if tally.started else None,
            tokens=tally.tokens,
            expired=tally.expired,
        )

    def throughput(self, now: float) -> float:
        """The tasks that ended in the last 60 seconds, per second."""
        last = int(now)
        ended = sum(s.ended for s in self._seconds if last - PACE_S < s.second <= last)
        return round(ended / PACE_S, 3)
