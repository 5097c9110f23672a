"""Sorted column families, where records are stored: in RocksDB, or in memory for users' tests."""

from collections.abc import Iterator
from typing import Any, Protocol


class Family(Protocol):
    """A column family, or a snapshot of one: keys and values in key order."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key; None for an unknown key."""

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in [start, end), as of this call."""

    def snapshot(self) -> "Family":
        """A snapshot, for reading in another thread."""


class Changes(Protocol):
    """An atomic set of changes to several families."""

    def put(self, key: bytes, value: bytes, handle: Any, /) -> None: ...

    def delete(self, key: bytes, handle: Any, /) -> None: ...

    def size_in_bytes(self) -> int: ...
