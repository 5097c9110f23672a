"""Counts what happens from events, until it is saved; and how many tasks ended a minute ago."""

from msgspec import Struct

from ..model.events import EventRecord
from .tallies import KindTally, Tallies
from .totals import Totals

PACE_S = 60  # the period of `throughput`


class _Second(Struct):
    """The number of tasks that ended in one second."""

    second: int = -1
    ended: int = 0


class MinuteTallies(Struct, frozen=True):
    """What happened in a minute, or in a part of it; `minute` is its number since 1970."""

    minute: int
    tallies: tuple[KindTally, ...]


class History:
    """Counts events in their minute; counting one takes constant time.

    `unsaved` hands over what has been counted since the last call, so that the store adds it to
    the rows of its minute, hour and day. `totals` are the counts since it was created.
    """

    def __init__(self) -> None:
        self._minute = -1  # of `_open`
        self._open = Tallies()
        self._unsaved: dict[int, Tallies] = {}
        self._seconds = [_Second() for _ in range(PACE_S)]
        self._totals = Totals()

    def __bool__(self) -> bool:
        """Whether something is not saved yet."""
        return bool(self._open or self._unsaved)

    def take(self, event: EventRecord) -> None:
        """Count an event. Events that say nothing of a task's course are ignored."""
        task = event.task
        if task is None:
            return
        match event.event:
            case "task_submitted":
                self._at(event).of_task(task, has_started=False).submitted += 1
            case "task_started":
                if task.attempt == 1:
                    self._at(event).of_task(task, has_started=True).start(task)
            case "task_retrying":
                self._at(event).of_task(task, has_started=True).retried += 1
            case "task_completed" | "task_failed" | "task_cancelled":
                self._at(event).of_task(task, has_started=True).end(task)
                self._count_end(int(event.at.timestamp()))
            case _:
                pass

    def _at(self, event: EventRecord) -> Tallies:
        minute = int(event.at.timestamp()) // 60
        if minute != self._minute:
            self._close()
            self._minute = minute
        return self._open

    def _close(self) -> None:
        """Hand the open tallies over to those to be saved, and to the totals."""
        if not self._open:
            return
        tallies, self._open = self._open.all(), Tallies()
        self._totals.add(tallies)
        unsaved = self._unsaved.setdefault(self._minute, Tallies())
        for each in tallies:
            unsaved.of(each.kind).merge(each.tally)

    def unsaved(self) -> tuple[MinuteTallies, ...]:
        """What was counted since the last call, by minute."""
        self._close()
        parts = tuple(
            MinuteTallies(minute, tuple(tallies.all())) for minute, tallies in self._unsaved.items()
        )
        self._unsaved = {}
        return parts

    def totals(self, listed: frozenset[str]) -> list[KindTally]:
        """The counts since the start by model and backend, as `Totals.shown` has them."""
        self._close()
        return self._totals.shown(listed)

    # --- throughput -----------------------------------------------------------------------------

    def _count_end(self, second: int) -> None:
        place = self._seconds[second % PACE_S]
        if place.second != second:
            place.second, place.ended = second, 0
        place.ended += 1

    def throughput(self, now: float) -> float:
        """The tasks that ended in the last 60 seconds, per second."""
        last = int(now)
        ended = sum(s.ended for s in self._seconds if last - PACE_S < s.second <= last)
        return round(ended / PACE_S, 3)
