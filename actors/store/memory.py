"""A store in memory, for users' tests: it is lost when the process ends."""

from collections.abc import Iterator, Sequence

from sortedcontainers import SortedDict

from ..files.blobs import MemoryBlobs
from .encoding import FAMILIES
from .task_store import TaskStore


class MemoryFamily:
    """A column family in memory, for one thread: its snapshot is the family itself."""

    def __init__(self) -> None:
        self._rows: SortedDict[bytes, bytes] = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._rows.get(key)
        return value

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self._rows[key] = value

    def delete(self, key: bytes) -> None:
        self._rows.pop(key, None)

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._rows.irange(start, end, (True, False), reverse=backwards)
        return ((key, self._rows[key]) for key in keys)

    def snapshot(self) -> "MemoryFamily":
        return self


class MemoryChanges:
    """Changes, applied in the order in which they were added."""

    def __init__(self) -> None:
        self.rows: list[tuple[MemoryFamily, bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes, family: MemoryFamily) -> None:
        self.rows.append((family, key, value))

    def delete(self, key: bytes, family: MemoryFamily) -> None:
        self.rows.append((family, key, None))

    def size_in_bytes(self) -> int:
        return 0  # nothing here is slow to write


def empty_families() -> dict[str, MemoryFamily]:
    """The families of a new store."""
    return {name: MemoryFamily() for name in FAMILIES}


class MemoryStore(TaskStore):
    """The store of an `InMemoryQueue`. Reads must run in the thread that writes.

    When the actors restart, a new store is opened over the same families and blobs.
    """

    is_in_memory = True

    def __init__(self, families: dict[str, MemoryFamily], blobs: MemoryBlobs | None = None) -> None:
        super().__init__(MemoryBlobs() if blobs is None else blobs)
        self._tables |= families
        self._handles |= families
        self.boot = int(families["meta"].get(b"boot") or b"0") + 1
        families["meta"].put(b"boot", b"%d" % self.boot)
        self.counts = self._load_counts()

    def _changes(self) -> MemoryChanges:
        return MemoryChanges()

    def _commit(self, batch: MemoryChanges) -> None:
        for family, key, value in batch.rows:
            if value is None:
                family.delete(key)
            else:
                family.put(key, value)

    def written(self) -> None:
        """Nothing: there is nothing to make durable."""

    def sync(self, written: None) -> None:
        pass

    def tidy(self) -> None:
        pass

    def take_snapshot(self) -> str:
        raise OSError("a queue in memory has no files")

    def why_gone(self) -> str | None:
        return None

    def close(self) -> None:
        pass
