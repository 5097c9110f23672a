"""Persistence's counts of failed tasks: read from the store when first asked for, then kept."""

from collections.abc import Iterable
from typing import Any

from ..base.inbox import Promise
from ..core.activity.failure_tallies import FailureTallies
from ..core.activity.failures import FailureGroup
from ..core.model.tasks import Record, Status
from ..store.commit_group import CommitGroup

Asker = tuple[Promise[list[FailureGroup]] | None, int, str | None]
"""A promise of groups, of how many, and of which tenant."""


class FailureCounts:
    """While the failed tasks are read in another thread, what changes is noted, and added after."""

    def __init__(self) -> None:
        self._tallies: FailureTallies | None = None
        self._moves: list[tuple[Record | None, Record | None]] = []
        self._askers: list[Asker] = []

    def note(self, group: CommitGroup) -> None:
        """Take in a group that has just been written."""
        if self._tallies is None and not self._askers:
            return
        for row in group.rows.values():
            if _has_failed(row.was) or _has_failed(row.record):
                self._move(row.was, row.record)
        for removed in group.removed.values():
            if _has_failed(removed):
                self._move(removed, None)

    def _move(self, was: Record | None, record: Record | None) -> None:
        if self._tallies is None:
            self._moves.append((was, record))
        else:
            self._tallies.moved(was, record)

    def groups(self, limit: int, tenant: str | None) -> list[FailureGroup] | None:
        """The groups as they are now; None if the tasks have to be read first: use `ask`."""
        return None if self._tallies is None else self._tallies.groups(limit, tenant)

    def ask(self, promise: Promise[Any] | None, limit: int, tenant: str | None) -> bool:
        """Answer when the tasks have been read; whether that has yet to begin."""
        self._askers.append((promise, limit, tenant))
        return len(self._askers) == 1

    def counted(
        self, tallies: FailureTallies
    ) -> Iterable[tuple[Promise[list[FailureGroup]] | None, list[FailureGroup]]]:
        """The tasks have been read: returns what to answer."""
        for was, record in self._moves:
            tallies.moved(was, record)
        askers, self._askers, self._moves = self._askers, [], []
        self._tallies = tallies
        return [(promise, tallies.groups(limit, tenant)) for promise, limit, tenant in askers]


def _has_failed(record: Record | None) -> bool:
    return record is not None and record.status is Status.FAILED
