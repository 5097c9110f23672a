"""A store or a copy of one, opened for reading only: whatever wrote it, nothing changes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..core.model.errors import Unavailable
from ..files.ownership import why_not
from ..store.encoding import Family
from ..store.rocksdb_setup import RocksFamily, open_copy

_END = b"\xff"  # after all keys: they are text


class StoredRows:
    """The families of a store, by name, for reading only.

    It has those that are there: an older store lacks some, one of a newer version has others.
    """

    families: dict[str, Family]

    def text(self, key: bytes) -> str:
        """The text of a key of `meta`; empty for an unknown key."""
        return (self.families["meta"].get(key) or b"").decode()

    def get(self, family: str, key: bytes) -> bytes | None:
        return self.families[family].get(key)

    def rows(
        self, family: str, start: bytes = b"", end: bytes = _END
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a family in [start, end), by default all; none of a family it lacks."""
        if family in self.families:
            yield from self.families[family].between(start, end)

    @property
    def format(self) -> int:
        """The store's format; 0 if it was never opened to the end."""
        return int(self.text(b"format") or 0)


class StoreReader(StoredRows):
    """The column families in the RocksDB at `rocks`. A context manager."""

    def __init__(self, rocks: Path) -> None:
        """Open it. Raises `Unavailable` with a clear sentence."""
        self._logs = tempfile.TemporaryDirectory()  # RocksDB's: a backup is not written to
        try:
            self._db, self._opened = open_copy(rocks, self._logs.name)
        except Exception as error:  # rocksdict raises no narrower type
            self._logs.cleanup()
            raise Unavailable(why_not(rocks.parent, str(error))) from None
        self.families = {n: RocksFamily(f) for n, f in self._opened.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.families.clear()
        while self._opened:
            self._opened.popitem()[1].close()
        self._db.close()
        self._logs.cleanup()
