"""What has been committed and is not in PostgreSQL yet: reads look here first."""

import threading
from bisect import bisect_left

Rows = dict[bytes, bytes | None]
"""Rows by key; None for a deleted one."""


class Layer:
    """The `Changes` of one commit. A handle is a family's name. Nothing changes once committed."""

    def __init__(self) -> None:
        self.mark = 0  # numbers the commits
        self.tables: dict[str, Rows] = {}
        self._size = 0
        self._sorted: dict[str, list[bytes]] = {}

    def put(self, key: bytes, value: bytes, family: str) -> None:
        self._size += len(key) + len(value)
        self.tables.setdefault(family, {})[key] = value

    def delete(self, key: bytes, family: str) -> None:
        self._size += len(key)
        self.tables.setdefault(family, {})[key] = None

    def size_in_bytes(self) -> int:
        return self._size

    def rows(self, family: str, start: bytes, end: bytes) -> Rows:
        """The family's rows in [start, end)."""
        table = self.tables.get(family)
        if table is None:
            return {}
        keys = self._sorted.get(family)
        if keys is None:
            keys = self._sorted[family] = sorted(table)
        return {key: table[key] for key in keys[bisect_left(keys, start) : bisect_left(keys, end)]}


Layers = tuple[Layer, ...]
"""The oldest first."""


class Overlay:
    """The layers from the oldest that is not in PostgreSQL to the newest.

    One thread commits, another drops what it has written; others may read `layers` as they are.
    """

    def __init__(self, mark: int) -> None:
        """Commits are numbered after `mark`."""
        self.layers: Layers = ()
        self.mark = mark
        self.size = 0
        self._lock = threading.Lock()

    def commit(self, layer: Layer) -> None:
        with self._lock:
            self.mark = layer.mark = self.mark + 1
            self.layers += (layer,)
            self.size += layer.size_in_bytes()

    def drop(self, mark: int) -> None:
        """Forget the commits up to this one: they are in PostgreSQL."""
        with self._lock:
            self.layers = tuple(layer for layer in self.layers if layer.mark > mark)
            self.size = sum(layer.size_in_bytes() for layer in self.layers)


def find(layers: Layers, family: str, key: bytes) -> tuple[bool, bytes | None]:
    """Whether a row was put or deleted, and its value."""
    for layer in reversed(layers):
        table = layer.tables.get(family)
        if table is not None and key in table:
            return True, table[key]
    return False, None


def rows_within(layers: Layers, family: str, start: bytes, end: bytes) -> Rows:
    """The rows of all layers in [start, end), each as the newest has it."""
    rows: Rows = {}
    for layer in layers:
        rows |= layer.rows(family, start, end)
    return rows
