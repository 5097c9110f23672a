"""History in the store: a row for each minute, hour and day in which something happened."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from ..core.activity.history import MinuteTallies
from ..core.activity.reports import Row
from ..core.activity.spans import Resolution
from ..core.activity.tallies import KindTally, Tallies
from .encoding import Changes, Family, encode

T = TypeVar("T")
EXPIRED_TOGETHER = 2  # rows deleted for each new one
_FAMILY = "meta"
_decode = msgspec.msgpack.Decoder(list[KindTally]).decode


class HistoryStore:
    """The rows of history, by resolution and the number of the period since 1970.

    The next sync makes durable what was added.
    """

    def __init__(self, families: dict[str, Family], handles: dict[str, Any]) -> None:
        self._families, self._handles = families, handles

    def add(self, changes: Changes, parts: Iterable[MinuteTallies]) -> None:
        """Add these counts to the rows of their minutes, hours and days."""
        additions: dict[tuple[Resolution, int], list[KindTally]] = defaultdict(list)
        for part in parts:
            for resolution in Resolution:
                number = part.minute // resolution.minutes
                additions[resolution, number].extend(part.tallies)
        for (resolution, number), tallies in additions.items():
            self._add(changes, resolution, number, tallies)

    def _add(
        self, changes: Changes, resolution: Resolution, number: int, tallies: list[KindTally]
    ) -> None:
        key, handle = _key(resolution, number), self._handles[_FAMILY]
        raw = self._families[_FAMILY].get(key)
        row = Tallies(() if raw is None else _decode(raw))
        for each in tallies:
            row.of(each.kind).merge(each.tally)
        changes.put(key, encode(row.all()), handle)
        if raw is None:
            # The newest are kept, however old: by age, a clock that is ahead would delete all.
            rows = self._families[_FAMILY].between(_key(resolution, 0), key)
            keys = [old for old, _ in rows]
            too_many = max(0, len(keys) - resolution.kept)
            for old_key in keys[: min(too_many, EXPIRED_TOGETHER)]:
                changes.delete(old_key, handle)

    def reading(
        self, resolution: Resolution, first: int, last: int, digest: Callable[[Iterable[Row]], T]
    ) -> Callable[[], T]:
        """Return a function that reads the rows from `first` to `last` and returns their `digest`.
        It may run in any thread."""
        start, end = _key(resolution, first), _key(resolution, last + 1)
        found = self._families[_FAMILY].snapshot().between(start, end)
        return lambda: digest(_rows(found))


def _rows(found: Iterable[tuple[bytes, bytes]]) -> Iterator[Row]:
    for key, raw in found:
        yield int(key.rpartition(b":")[2]), _decode(raw)


def _key(resolution: Resolution, number: int) -> bytes:
    return b"history:%b:%010d" % (resolution.value.encode(), max(0, number))
