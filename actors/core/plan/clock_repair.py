"""What lay on disk may have been written by a clock that was ahead: here it is put right."""

from collections.abc import Iterable

from ..config.config import RetrySettings
from ..model.entry import Entry
from .backoff import delay

LEAST_S = 1.0  # that a clock was ahead; ids of the same microsecond are told apart by less


def repair_clock(entries: Iterable[Entry], retry: RetrySettings, now: float) -> None:
    """Let no entry have been queued after `now`, or wait longer for its retry than there is to.

    Ids sort by arrival whatever the clock did, so they tell between which others an entry of a
    wrong clock stands: it counts as queued when the next one after it was.
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
    """Queued in the future, and not because it was asked for at that time."""
    is_for_later = not entry.attempt and entry.due > now
    return entry.queued_at > now + LEAST_S and not is_for_later


def _id_of(entry: Entry) -> str:
    return entry.id
