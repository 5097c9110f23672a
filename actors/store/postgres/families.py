"""The families of a store on PostgreSQL: its tables, and over them what is not in there yet."""

from collections.abc import Iterator, Sequence

from .overlay import Layers, Overlay, Rows, find, rows_within
from .row_cache import RowCache
from .tables import RowReader

_FIRST_ROWS, _MOST_ROWS = 16, 2000  # of one statement: many reads want the first row only


class PostgresSnapshot:
    """A family as of one moment, which is later than `layers` where these are in PostgreSQL."""

    def __init__(self, name: str, layers: Layers, tables: RowReader) -> None:
        self._name, self._layers, self._stored = name, layers, tables

    def get(self, key: bytes) -> bytes | None:
        is_known, value = find(self._missing(), self._name, key)
        return value if is_known else self._stored.value(self._name, key)

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        values = self._stored.values(self._name, keys)
        layers = self._missing()
        found = (find(layers, self._name, key) for key in keys)
        return [
            ours if is_known else values.get(key)
            for key, (is_known, ours) in zip(keys, found, strict=True)
        ]

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        size = _FIRST_ROWS
        while True:
            stored = self._stored.rows(self._name, start, end, backwards, size)
            layers = self._missing()
            is_last = len(stored) < size
            low, high = start, end
            if not is_last and backwards:
                end = low = stored[-1][0]
            elif not is_last:
                start = high = stored[-1][0] + b"\x00"
            yield from _merged(stored, rows_within(layers, self._name, low, high), backwards)
            if is_last:
                return
            size = min(size * 4, _MOST_ROWS)

    def snapshot(self) -> "PostgresSnapshot":
        return self

    def _missing(self) -> Layers:
        """The layers that are not in what is read from PostgreSQL."""
        saved = self._stored.saved()
        return tuple(layer for layer in self._layers if layer.mark > saved)


class PostgresFamily:
    """A family as the only one that writes to it sees it, in one thread."""

    def __init__(
        self, name: str, overlay: Overlay, tables: RowReader, cache: RowCache | None = None
    ) -> None:
        self._name, self._overlay, self._stored, self._cache = name, overlay, tables, cache

    def get(self, key: bytes) -> bytes | None:
        is_known, value = find(self._overlay.layers, self._name, key)
        if is_known:
            return value
        if self._cache is None:
            return self._stored.value(self._name, key)
        return self._cache.get(key)

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.snapshot().get_all(keys)

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self.snapshot().between(start, end, backwards)

    def snapshot(self) -> PostgresSnapshot:
        return PostgresSnapshot(self._name, self._overlay.layers, self._stored)


def _merged(
    stored: list[tuple[bytes, bytes]], ours: Rows, backwards: bool
) -> Iterator[tuple[bytes, bytes]]:
    if not ours:
        yield from stored
        return
    rows: Rows = dict(stored)
    rows |= ours
    for key in sorted(rows, reverse=backwards):
        value = rows[key]
        if value is not None:
            yield key, value
