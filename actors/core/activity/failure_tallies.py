"""Counts failed tasks by cause, as tasks fail, are retried and are deleted."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from ..model.errors import cut
from ..model.tasks import Record
from .failures import OTHER, FailureCause, FailureGroup, cause_of

MOST_CAUSES = 1000  # counted apart, by tenant; memory is bounded
EXAMPLES = 3
LATEST = 500  # characters of the latest error


class FailureTally(Struct):
    """The failed tasks of one cause and tenant."""

    cause: FailureCause
    first_at: datetime
    last_at: datetime
    latest_error: str
    examples: deque[str]
    count: int = 0


_Key = tuple[str | None, str]  # tenant, and the id of a cause


class FailureTallies:
    """The counts. Once there are too many causes, new ones are counted together, for good."""

    def __init__(self, most: int = MOST_CAUSES) -> None:
        self._most = most
        self._tallies: dict[_Key, FailureTally] = {}
        self._is_full = False

    def moved(self, was: Record | None, record: Record | None) -> None:
        """Take in that a task has changed from `was` (None: it is new) to `record` (None: it is
        deleted)."""
        before = None if was is None else cause_of(was)
        after = None if record is None else cause_of(record)
        if before is not None and was is not None:
            self._remove(before, was)
        if after is not None and record is not None:
            self._add(after, record)

    def _add(self, cause: FailureCause, record: Record) -> None:
        at = record.completed_at or record.created_at
        key = self._key(cause, record)
        tally = self._tallies.get(key)
        if tally is None:
            counted = cause if key[1] == cause.id else FailureCause(OTHER, None, None, OTHER)
            tally = FailureTally(counted, at, at, "", deque(maxlen=EXAMPLES))
            self._tallies[key] = tally
            self._is_full = self._is_full or len(self._tallies) >= self._most
        tally.count += 1
        tally.examples.append(record.id)
        tally.first_at = min(tally.first_at, at)
        if at >= tally.last_at:
            tally.last_at, tally.latest_error = at, cut(record.error or "", LATEST)

    def _remove(self, cause: FailureCause, record: Record) -> None:
        key = self._key(cause, record)
        tally = self._tallies.get(key)
        if tally is None:
            return
        tally.count -= 1
        if record.id in tally.examples:
            tally.examples.remove(record.id)
        if tally.count <= 0 and not self._is_full:  # else it would be counted as another cause
            del self._tallies[key]

    def _key(self, cause: FailureCause, record: Record) -> _Key:
        key = record.tenant, cause.id
        return (None, OTHER) if self._is_full and key not in self._tallies else key

    def groups(self, limit: int, tenant: str | None = None) -> list[FailureGroup]:
        """The groups with the most tasks, at most `limit`; with `tenant`, of its tasks only."""
        found: dict[str, FailureGroup] = {}
        for tally in self._of(tenant):
            known = found.get(tally.cause.id)
            found[tally.cause.id] = _shown([tally]) if known is None else _joined(known, tally)
        largest = sorted(found.values(), key=lambda group: (-group.count, group.id))
        return largest[:limit]

    def _of(self, tenant: str | None) -> Iterator[FailureTally]:
        for (owner, _), tally in self._tallies.items():
            if tally.count > 0 and (tenant is None or owner == tenant):
                yield tally


def _shown(tallies: list[FailureTally]) -> FailureGroup:
    tally = tallies[0]
    return FailureGroup(
        id=tally.cause.id,
        code=tally.cause.code,
        backend=tally.cause.backend,
        words=tally.cause.words,
        count=tally.count,
        first_at=tally.first_at,
        last_at=tally.last_at,
        latest_error=tally.latest_error,
        examples=[*tally.examples][::-1],
    )


def _joined(group: FailureGroup, tally: FailureTally) -> FailureGroup:
    """The group with the tasks of another tenant."""
    other = _shown([tally])
    newer = other if other.last_at > group.last_at else group
    return FailureGroup(
        id=group.id,
        code=group.code,
        backend=group.backend,
        words=group.words,
        count=group.count + other.count,
        first_at=min(group.first_at, other.first_at),
        last_at=newer.last_at,
        latest_error=newer.latest_error,
        examples=sorted([*group.examples, *other.examples], reverse=True)[:EXAMPLES],
    )
