"""Corrects the times of tasks that were stored while the clock was ahead."""

from collections.abc import Iterable

from ..config.config import RetrySettings
from ..model.entry import Entry
from .backoff import delay

LEAST_S = 1.0  # ahead, to count as wrong; ids of the same microsecond differ by less


def repair_clock(entries: Iterable[Entry], retry: RetrySettings, now: float) -> None:
    """Make no entry queued after `now`, or waiting longer for its retry than backoff allows.

    Ids sort by arrival whatever the clock did, so they give a wrongly dated entry's place: it
    counts as queued when the entry after it was.
    """
    wrong = False
    for entry in entries:
        if entry.due > now and entry.attempt:
            entry.due = min(entry.due, now + delay(retry, max(entry.retry_count, 1), 1.0))
        wrong = wrong or _is_ahead(entry, now)
    if not wrong:
        return
    least = now
    for entry in sorted(entries, key=_id_of, reverse=True):
        if _is_ahead(entry, now):
            entry.queued_at = least
        else:
            least = min(least, entry.queued_at)


def _is_ahead(entry: Entry, now: float) -> bool:
    """Whether it was queued in the future, and not because it is scheduled for then."""
    is_for_later = not entry.attempt and entry.due > now
    return entry.queued_at > now + LEAST_S and not is_for_later


def _id_of(entry: Entry) -> str:
    return entry.id
