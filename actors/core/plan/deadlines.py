"""Deadlines and start limits: tasks that fail when they are late."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from sortedcontainers import SortedList

from ..model.entry import Entry
from ..model.errors import Invalid
from .settle import timestamp

MOST_AT_ONCE = 200  # tasks to expire in one step, so that other work is done in between


def check_deadline(deadline: datetime | None, now: float) -> None:
    """Raise `Invalid` for a deadline that has passed."""
    if deadline is not None and deadline.timestamp() <= now:
        passed = timestamp(deadline.timestamp())
        raise Invalid(f"deadline must be in the future, {passed} has passed", field="deadline")


def why_expired(entry: Entry, now: float) -> str:
    """Why an entry that has expired is late, as a sentence."""
    if entry.deadline is None or entry.deadline > now:
        return f"it did not start within {entry.start_within:g} s (start_within)"
    return f"its deadline, {timestamp(entry.deadline)}, has passed"


class TaskDeadlines:
    """When each live entry that may expire does, unless it starts or ends before.

    An operation is O(log n) in their number. A start changes nothing here: a limit is checked when
    it is due. A deadline is an instant, so it is never shifted.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._times: dict[str, float] = {}
        self._due: SortedList[tuple[float, str]] = SortedList()

    def refill(self) -> None:
        """Start anew with all entries, as at a boot or after a change of the clock."""
        limited = (entry for entry in self._entries.values() if entry.is_limited)
        times = ((entry.id, entry.expires_at) for entry in limited)
        self._times = {task_id: at for task_id, at in times if at is not None}
        self._due = SortedList((at, task_id) for task_id, at in self._times.items())

    def add(self, entry: Entry) -> None:
        """Note when an entry expires, in place of what was known of it."""
        self.drop(entry.id)
        at = entry.expires_at
        if at is not None:
            self._times[entry.id] = at
            self._due.add((at, entry.id))

    def drop(self, task_id: str) -> None:
        """Forget an entry, if it is known."""
        at = self._times.pop(task_id, None)
        if at is not None:
            self._due.remove((at, task_id))

    def is_due(self, now: float) -> bool:
        return bool(self._due) and self._due[0][0] <= now

    def expired(self, now: float) -> Iterator[Entry]:
        """Yield entries that are late, until none is left or after many. The caller ends each
        before it takes the next."""
        for _ in range(MOST_AT_ONCE):
            if not self.is_due(now):
                return
            entry = self._entries[self._due[0][1]]
            at = entry.expires_at  # later than it was, or None, if it has started since
            if at is None or at > now:
                self.add(entry)
            else:
                yield entry

    @property
    def next_due(self) -> float | None:
        """When `expired` next has work."""
        return self._due[0][0] if self._due else None
