"""The audit log in the store: entries by their `seq`, bounded in number and age."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec

from ..core.activity.audit import (
    MOST_ENTRIES,
    MOST_SCANNED,
    AuditEntry,
    AuditPage,
    AuditQuery,
)
from .encoding import Changes, Family, encode

EXPIRED_TOGETHER = 2  # entries deleted for each new one: a wrong clock cannot delete all
_FAMILY = "meta"
_COUNT = b"audits"
_FIRST, _LAST = b"audit:", b"audit;"
_decode = msgspec.msgpack.Decoder(AuditEntry).decode


class AuditStore:
    """The entries of the audit log. The oldest make way for new ones once they are older than
    `retention_s`, or more than 100,000."""

    def __init__(self, families: dict[str, Family], handles: dict[str, Any]) -> None:
        self._families, self._handles = families, handles
        self.retention_s: float | None = None

    def put(self, changes: Changes, entries: Sequence[AuditEntry]) -> None:
        """Add entries, and remove as many old ones as there must be, two for each new one."""
        if not entries:
            return
        meta, handle = self._families[_FAMILY], self._handles[_FAMILY]
        count = int(meta.get(_COUNT) or b"0") + len(entries)
        for entry in entries:
            changes.put(_key(entry.seq), encode(entry), handle)
        oldest = islice(meta.between(_FIRST, _LAST), EXPIRED_TOGETHER * len(entries))
        for key, raw in list(oldest):
            if count <= MOST_ENTRIES and not self._is_old(_decode(raw), entries[-1]):
                break
            changes.delete(key, handle)
            count -= 1
        changes.put(_COUNT, b"%d" % count, handle)

    def recount(self, changes: Changes) -> None:
        """Count the entries anew."""
        meta, handle = self._families[_FAMILY], self._handles[_FAMILY]
        count = sum(1 for _ in meta.between(_FIRST, _LAST))
        changes.put(_COUNT, b"%d" % count, handle)

    def _is_old(self, entry: AuditEntry, newest: AuditEntry) -> bool:
        if self.retention_s is None:
            return False
        return newest.at - entry.at > timedelta(seconds=self.retention_s)

    def reading(self, query: AuditQuery) -> Callable[[], AuditPage]:
        """Return a function that reads a page; it may run in any thread."""
        end = _LAST if query.before is None else _key(query.before)
        found = self._families[_FAMILY].snapshot().between(_FIRST, end, backwards=True)

        def read() -> AuditPage:
            entries: list[AuditEntry] = []
            for seen, (_, raw) in enumerate(found, 1):
                entry = _decode(raw)
                if query.matches(entry):
                    entries.append(entry)
                if len(entries) == query.limit or seen == MOST_SCANNED:
                    return AuditPage(entries, str(entry.seq))
            return AuditPage(entries)

        return read


def _key(seq: int) -> bytes:
    return b"audit:%016x" % seq
