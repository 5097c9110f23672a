"""Rows of one family in memory: those just written, and the next ones in order, read together."""

from collections import OrderedDict

from .overlay import Overlay, find, rows_within
from .tables import RowReader

_MOST_BYTES = 16 << 20
_AHEAD = 100  # rows: tasks start mostly in the order of their ids
_MOST_ROW = 8 << 10  # bytes of a row that is read ahead
_END = b"\xff"  # after all keys: they are text
_OF_A_ROW = 100  # bytes that Python takes besides


class RowCache:
    """Used in one thread, by the only one that writes to the family."""

    def __init__(self, name: str, overlay: Overlay, tables: RowReader) -> None:
        self._name, self._overlay, self._stored = name, overlay, tables
        self._rows: OrderedDict[bytes, bytes] = OrderedDict()
        self._start = self._end = b""  # in [start, end) are the keys of `_there` and no others
        self._there: set[bytes] = set()
        self._size = 0

    def get(self, key: bytes) -> bytes | None:
        """A row that the overlay does not have."""
        value = self._rows.get(key)
        if value is None and (key in self._there or not self._start <= key < self._end):
            value = self._read(key)
        return value

    def note(self, key: bytes, value: bytes | None) -> None:
        """Take in a change."""
        if value is None:
            self._there.discard(key)
        elif self._start <= key < self._end and key not in self._there:
            self._start = key + b"\x00"  # ids ascend: the next one is new as well
        was = self._rows.pop(key, None)
        if was is not None:
            self._size -= len(key) + len(was) + _OF_A_ROW
        if value is None or len(value) > _MOST_ROW:
            return
        self._rows[key] = value
        self._size += len(key) + len(value) + _OF_A_ROW
        while self._size > _MOST_BYTES:
            old, dropped = self._rows.popitem(last=False)
            self._size -= len(old) + len(dropped) + _OF_A_ROW

    def _read(self, key: bytes) -> bytes | None:
        layers = self._overlay.layers  # as they are before the statement
        found, rows = None, self._stored.rows_from(self._name, key, _AHEAD, _MOST_ROW)
        end = rows[-1][0] + b"\x00" if len(rows) == _AHEAD else _END
        ours = rows_within(layers, self._name, key, end)
        self._start, self._end = key, min(ours, default=end)
        self._there = {other for other, _ in rows}
        for other, value in rows:
            if other == key:
                found = value
            is_known = other in self._rows or find(layers, self._name, other)[0]
            if value is not None and not is_known:
                self.note(other, value)
        return found
