"""RocksDB as the store uses it: opening, reading, and merging small tables."""

import ctypes
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BottommostLevelCompaction,
    CompactOptions,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    Snapshot,
)

from .encoding import FAMILIES

JOURNAL_BYTES = 24 << 20
OPEN_FILES = 128  # open tables at once: a store opens even where a process may have only 256 files
SMALL_BYTES = 4 << 20
MERGE_AT = 4  # merge this many small neighbours into one table
MERGE_BYTES = 16 << 20  # at most, in one go: a stop has to wait for it


def open_rocksdb(
    path: Path, *, read_only: bool = False, names: Iterable[str] = FAMILIES, logs: str = ""
) -> Rdict:
    """Open or create it, with the column families `names`; RocksDB logs to the folder `logs` if it
    is given. Raises plain `Exception` with RocksDB's message."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    # A torn tail is normal after a crash; damage in the middle must not be taken for the end.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_keep_log_file_num(4)
    # A boot replays the journal, and its content is in memory as well: keep both small.
    options.set_max_total_wal_size(JOURNAL_BYTES)
    options.set_db_write_buffer_size(JOURNAL_BYTES)
    options.set_max_open_files(OPEN_FILES)
    if logs:
        options.set_db_log_dir(logs)
    return Rdict(
        str(path),
        options,
        column_families={name: Options(raw_mode=True) for name in names},
        access_type=AccessType.read_only() if read_only else AccessType.read_write(),
    )


def open_copy(path: Path, logs: str) -> tuple[Rdict, dict[str, Rdict]]:
    """Open it for reading only, with the column families that it has; RocksDB logs to `logs`.
    Raises plain `Exception`."""
    listed = Rdict.list_cf(str(path), Options(raw_mode=True))
    names = [name for name in listed if name != "default"]
    db = open_rocksdb(path, read_only=True, names=names, logs=logs)
    return db, {name: db.get_column_family(name) for name in names}


class RocksFamily:
    """A column family of RocksDB."""

    def __init__(self, family: Rdict) -> None:
        self._family = family
        self.get = family.get

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return key_range(self._family.iter, start, end, backwards)

    def snapshot(self) -> "RocksSnapshot":
        return RocksSnapshot(self._family.snapshot())


class RocksSnapshot:
    """A snapshot of a column family of RocksDB."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes = self._snapshot[key]
            return value
        except Exception as error:  # rocksdict raises no narrower type
            if str(error) == "key not found":
                return None
            raise

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return key_range(self._snapshot.iter, start, end, backwards)

    def snapshot(self) -> "RocksSnapshot":
        return self


def key_range(
    iterate: Any, start: bytes, end: bytes, backwards: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in [start, end). Raises at a corrupt block, where `items()` just ends.

    rocksdict 0.3.29 sets the upper bound when told to set a lower one, hence the comparison.
    """
    bounds = ReadOptions()
    bounds.set_iterate_upper_bound(end)
    return _walk(iterate(bounds), start, backwards, bounds)


def _walk(
    rows: RdictIter, start: bytes, backwards: bool, bounds: ReadOptions
) -> Iterator[tuple[bytes, bytes]]:
    """Walk the rows. Keeps `bounds` alive: the iterator refers to them without owning them."""
    step = rows.prev if backwards else rows.next
    rows.seek_to_last() if backwards else rows.seek(start)
    while rows.valid() and (key := rows.key()) >= start:
        yield key, rows.value()
        step()
    rows.status()


def abandon(db: Rdict, families: list[Rdict]) -> None:
    """Leave RocksDB open for good: closing would write to whatever is at its path now."""
    db.cancel_all_background(True)
    for family in families:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(family))


def merge_small_tables(db: Rdict, families: dict[str, Rdict]) -> None:
    """Merge small adjacent tables, up to 16 MiB of them; other threads run meanwhile.

    Each boot and stop writes the journal's content to new tables. Ids ascend, so the tables of
    tasks never overlap: RocksDB moves them unmerged to the last level, where they stay.
    """
    force = CompactOptions()
    force.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    known = {int(Path(table["name"]).stem): table for table in db.live_files()}
    left = MERGE_BYTES
    for family in families.values():
        listed = family.property_value("rocksdb.sstables") or ""
        numbers = [int(number) for number in re.findall(r"^ (\d+):", listed, re.MULTILINE)]
        for run in _small_neighbours([known[n] for n in numbers if n in known]):
            part = _within(left, run)
            if len(part) < MERGE_AT:
                return
            left -= sum(table["size"] for table in part)
            family.compact_range(part[0]["start_key"], part[-1]["end_key"], force)


def _small_neighbours(tables: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of at least `MERGE_AT` tables. RocksDB merges level 0, where tables overlap, itself."""
    runs: list[list[dict[str, Any]]] = [[]]
    deep = [table for table in tables if table["level"] > 0]
    for table in sorted(deep, key=lambda table: (table["level"], table["start_key"])):
        if runs[-1] and runs[-1][-1]["level"] != table["level"]:
            runs.append([])
        if table["size"] < SMALL_BYTES:
            runs[-1].append(table)
        else:
            runs.append([])
    return [run for run in runs if len(run) >= MERGE_AT]


def _within(size: int, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first tables that total at most `size` bytes."""
    sums = accumulate(table["size"] for table in tables)
    return [table for table, total in zip(tables, sums, strict=True) if total <= size]
