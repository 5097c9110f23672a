"""What records lie in: sorted column families, in RocksDB, or in memory for tests of programs."""

from collections.abc import Iterator
from typing import Any, Protocol


class Family(Protocol):
    """A column family, or how it was at a moment: keys and values, in the order of the keys."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key; None where there is no such key."""

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in [start, end), as they are when this is called."""

    def snapshot(self) -> "Family":
        """As it is now, for what reads in another thread."""


class Changes(Protocol):
    """Changes to several families, all of them made at once or none."""

    def put(self, key: bytes, value: bytes, handle: Any, /) -> None: ...

    def delete(self, key: bytes, handle: Any, /) -> None: ...

    def size_in_bytes(self) -> int: ...
