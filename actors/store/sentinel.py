"""Records next to RocksDB what was acknowledged, so that the next start detects a loss.

RocksDB alone takes a missing or empty journal for one without changes.
"""

import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from ..base.actor import log
from ..core.model.errors import Unavailable
from ..files.data_folder import DataFolder
from ..files.private_files import replace_file
from ..files.wal_files import Sizes, WalFiles, number_of, size_of, sizes_in
from .rocksdb_setup import open_copy

SLOT_BYTES = 4096  # two slots alternate: if a power failure cuts one, the other is intact
MANIFEST = "MANIFEST-"
MARK = "user.ollama_queue.store"  # an attribute of the folder: it survives its content


class SyncedState(Struct, frozen=True):
    """What has been fsynced: the number of changes, and the sizes of journal and manifest."""

    store: str
    changes: int
    files: Sizes


class Sentinel:
    """Written after each fsync, before the changes it made durable are acknowledged.

    The sentinel itself is fsynced only at boot, at stop, and when the set of journal files
    changes: the kernel keeps unsynced writes over `kill -9`, and after a power failure an older
    sentinel merely demands less.
    """

    def __init__(self, place: DataFolder, store: str, changes: int) -> None:
        """Start a new sentinel: replaces that of the last run, and marks the folder."""
        self.place, self.store = place, store
        self._files = WalFiles(str(place.rocks))
        self._files.sizes()
        first = self.look(changes)
        path = place.folder / "sentinel"
        replace_file(path, _encoded(first).ljust(2 * SLOT_BYTES), durable=True)
        self._slot, self._names = 0, first.files.keys()
        self._file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with suppress(OSError, AttributeError):  # not all file systems have attributes
            os.setxattr(place.folder, MARK, store.encode())

    def look(self, changes: int) -> SyncedState:
        """What an fsync that starts now will make durable. Raises `OSError`."""
        return SyncedState(self.store, changes, self._files.sizes())

    def note(self, noted: SyncedState) -> None:
        """Record that the fsync has finished. Raises `Unavailable` if the folder was replaced."""
        self.place.check()
        self._write(noted)
        if noted.files.keys() != self._names:
            self._names = noted.files.keys()
            os.fsync(self._file)

    def end(self, changes: int) -> None:
        """Record a clean stop, which leaves nothing in the journal."""
        sizes = sizes_in(str(self.place.rocks)).items()
        manifests = {name: size for name, size in sizes if name.startswith(MANIFEST)}
        self._write(SyncedState(self.store, changes, manifests))
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, noted: SyncedState) -> None:
        self._slot = 1 - self._slot
        os.pwrite(self._file, _encoded(noted), self._slot * SLOT_BYTES)


def _encoded(noted: SyncedState) -> bytes:
    payload = msgspec.json.encode(noted)
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _decoded(slot: bytes) -> SyncedState | None:
    line = slot.partition(b"\n")[0]
    code, _, payload = line.partition(b" ")
    if code != b"%08x" % zlib.crc32(payload):
        return None
    return msgspec.json.decode(payload, type=SyncedState)


def read_sentinel(folder: Path) -> SyncedState | None:
    """The last state recorded; None without a sentinel. Raises `Unavailable` if it is damaged."""
    try:
        raw = (folder / "sentinel").read_bytes()
    except FileNotFoundError:
        return None
    slots = _decoded(raw[:SLOT_BYTES]), _decoded(raw[SLOT_BYTES:])
    valid = [noted for noted in slots if noted is not None]
    if not valid:
        raise _lost(folder, "its file sentinel is damaged", "continues with what is left")
    return max(valid, key=lambda noted: noted.changes)


# --- checks at a start --------------------------------------------------------------------------


def check_files(place: DataFolder) -> SyncedState | None:
    """Check the files before RocksDB opens them, which would hide a loss. Returns the sentinel.

    Raises `Unavailable`, explaining what `--accept-loss` would do, when files are missing or cut. A
    store of an older version, which had no sentinel, and a new folder are not checked.
    """
    try:
        noted = read_sentinel(place.folder)
        _check_presence(place, noted)
        if noted is not None:
            _check_journal(place, noted)
    except Unavailable as loss:
        _refuse(place, loss)
        return None
    return noted


def _check_presence(place: DataFolder, noted: SyncedState | None) -> None:
    folder, is_marked = place.folder, _is_marked(place.folder)
    if noted is None and not is_marked:
        return
    if not (place.rocks / "CURRENT").exists():
        what = "RocksDB's files have been removed" if noted else "the folder has been emptied"
        raise _lost(folder, what, "starts with an empty queue")
    if noted is None:
        raise _lost(folder, "its file sentinel has been removed", "continues with what is left")


def _check_journal(place: DataFolder, noted: SyncedState) -> None:
    rocks = str(place.rocks)
    sizes = {name: size_of(rocks, name) for name in noted.files}
    cut = [name for name, size in noted.files.items() if (sizes[name] or 0) < size]
    for name in cut:
        if name.startswith(MANIFEST) and sizes[name] is not None:  # RocksDB itself misses one
            what = f"its list of tables, rocksdb/{name}, has been cut or is an older one"
            raise _lost(place.folder, what, "continues with the tables that it still lists")
    logs = [name for name in cut if not name.startswith(MANIFEST)]
    if logs and max(map(number_of, logs)) >= _oldest_needed(place.rocks):
        what = f"its journal, rocksdb/{max(logs, key=number_of)}, has been removed or cut"
        raise _lost(place.folder, what, "continues without what only this file held")


def check_changes(place: DataFolder, noted: SyncedState | None, store: str, changes: int) -> None:
    """Check the opened RocksDB. Raises `Unavailable` if it holds less than was acknowledged."""
    if noted is not None and (noted.store != store or changes < noted.changes):
        what = "its files have been replaced by older ones, or by those of another store"
        _refuse(place, _lost(place.folder, what, "continues with what is left"))


def _refuse(place: DataFolder, loss: Unavailable) -> None:
    if not place.accepts_loss:
        raise loss
    log.warning("%s: accepted", loss.message)
    place.has_lost = True


def _oldest_needed(rocks: Path) -> int:
    """The number of the oldest journal file with changes that are not in a table yet."""
    with tempfile.TemporaryDirectory() as logs:
        db, families = open_copy(rocks, logs)  # an older store lacks some families
        try:
            return db.property_int_value("rocksdb.min-log-number-to-keep") or 0
        finally:
            while families:
                families.popitem()[1].close()
            db.close()


def _is_marked(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, MARK))
    except (OSError, AttributeError):
        return False


def unmark(folder: Path) -> None:
    """Forget that the folder has had a store, before another one is put into it."""
    with suppress(OSError, AttributeError):
        os.removexattr(folder, MARK)


def _lost(folder: Path, what: str, then: str) -> Unavailable:
    return Unavailable(
        f"the store in {folder} lacks changes that were acknowledged, because {what}: put it back, "
        f"or start once with --accept-loss (in Python accept_loss=True), which {then}"
    )
