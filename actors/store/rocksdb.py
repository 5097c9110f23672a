"""The store on disk: a RocksDB and its owner. Only Persistence uses it."""

from contextlib import ExitStack, suppress
from uuid import uuid4

from rocksdict import Rdict, WriteBatch, WriteOptions

from ..core.messages.replies import Recovered
from ..core.model.errors import QueueError, Unavailable
from ..files.blobs import BlobFolder
from ..files.data_folder import DataFolder
from ..files.free_space import has_free_space
from ..files.ownership import claim, sign, unsign, why_not
from ..files.snapshots import drop_snapshot, take_snapshot
from .encoding import (
    FAMILIES,
)
from .migrations import FORMAT, check_format, upgrade
from .repair import Repair
from .rocksdb_setup import (
    MERGE_BYTES,
    RocksFamily,
    abandon,
    merge_small_tables,
    open_rocksdb,
)
from .sentinel import Sentinel, SyncedState, check_changes, check_files
from .task_store import TaskStore


class Store(TaskStore):
    """One RocksDB and its owner. Methods raise plain `Exception` for disk errors."""

    def __init__(
        self,
        folder: str,
        url: str | None,
        *,
        read_only: bool = False,
        place: DataFolder | None = None,
    ) -> None:
        """Open or create it. Raises `Unavailable` with a clear sentence on failure.

        With `read_only`, nothing is written, and another process may have it open for writing.
        `place` is the folder, if the caller keeps it claimed from one open to the next.
        """
        self.place, self._is_mine = place or DataFolder(folder), place is None
        self.folder = self.place.folder
        self.read_only = read_only
        super().__init__(BlobFolder(self.folder))
        self._families: dict[str, Rdict] = {}
        self._sentinel: Sentinel | None = None
        self._db = self._open()
        try:
            self._families = {name: self._db.get_column_family(name) for name in FAMILIES}
            self._tables |= {name: RocksFamily(each) for name, each in self._families.items()}
            self._handles |= {name: self._db.get_column_family_handle(name) for name in FAMILIES}
            self.boot = self._last_boot() if read_only else self._begin()
            if not read_only:
                drop_snapshot(self.folder)  # a stop or a crash cut off what it was for
                sign(self.folder, url)
                self._watch()
        except BaseException as error:
            with suppress(Exception):  # a disk that failed a write may fail the close as well
                self.close()
            if isinstance(error, QueueError) or not isinstance(error, Exception):
                raise
            raise Unavailable(why_not(self.folder, str(error))) from None
        self.counts = self._load_counts()
        self._no_sync = WriteOptions()

    # --- opening and closing --------------------------------------------------------------------

    def _open(self) -> Rdict:
        claim()
        try:
            self.place.claim()
            self._noted = None if self.read_only else check_files(self.place)
            self.place.claim_rocks()
            return open_rocksdb(self.place.rocks, read_only=self.read_only)
        except Exception as error:  # rocksdict raises no narrower type
            self._let_go()
            if isinstance(error, QueueError):
                raise
            raise Unavailable(why_not(self.folder, str(error))) from None

    def _let_go(self) -> None:
        if self._is_mine:
            self.place.close()

    def _watch(self) -> None:
        """Record from now on what is acknowledged."""
        self.place.narrow_files()
        self._sentinel = Sentinel(self.place, self._id, self._db.latest_sequence_number())
        # The user accepted only earlier losses: a later one is refused again.
        self.place.accepts_loss = self.place.has_lost = False

    def _begin(self) -> int:
        """Check the format and count this boot, durably, before anything else is written."""
        meta = self._families["meta"]
        check_format(self._tables["meta"], str(self.folder))
        self._id = (meta.get(b"id") or uuid4().hex.encode()).decode()
        check_changes(self.place, self._noted, self._id, self._db.latest_sequence_number())
        upgrade(self._tables, self._handles, self._changes, self._db.write)
        if self.place.has_lost:
            Repair(self._db, self._families, self._handles).run()
        boot = self._last_boot() + 1
        batch = WriteBatch(raw_mode=True)
        batch.put(b"format", b"%d" % FORMAT, self._handles["meta"])
        batch.put(b"boot", b"%d" % boot, self._handles["meta"])
        batch.put(b"id", self._id.encode(), self._handles["meta"])
        self._db.write(batch)
        self._db.flush_wal(True)
        return boot

    def _last_boot(self) -> int:
        return int(self._families["meta"].get(b"boot") or b"0")

    def close(self) -> None:
        """Release the lock. Closes families first: RocksDB holds it while any of them is open."""
        changes = self._db.latest_sequence_number()
        families = [*self._families.values(), self._db]
        self._families.clear()
        self._tables.clear()
        self._handles.clear()
        sentinel, self._sentinel = self._sentinel, None
        with ExitStack() as all_of_them:  # after a failed write, closing may raise and still closes
            all_of_them.callback(self._let_go)
            if sentinel is not None:
                all_of_them.callback(sentinel.close)
            if self.place.is_replaced():
                abandon(self._db, families)
                return
            if not self.read_only:
                unsign(self.folder)
            closing = all_of_them.enter_context(ExitStack())
            for family in reversed(families):
                closing.callback(family.close)
            closing.close()
            if sentinel is not None:
                sentinel.end(changes)
                self.place.narrow_files()

    # --- writing --------------------------------------------------------------------------------

    def _changes(self) -> WriteBatch:
        return WriteBatch(raw_mode=True)

    def _commit(self, batch: WriteBatch) -> None:
        self._db.write(batch, self._no_sync)

    def written(self) -> SyncedState:
        """What `sync` would make durable now.

        Computed beforehand: in the syncing thread, each system call would have to wait for the
        interpreter lock afterwards.
        """
        assert self._sentinel is not None
        return self._sentinel.look(self._db.latest_sequence_number())

    def sync(self, written: SyncedState) -> None:
        """Make it durable and record that; other threads run meanwhile.

        Raises `Unavailable` if the folder is no longer the one that was opened.
        """
        assert self._sentinel is not None
        self._db.flush_wal(True)
        self._sentinel.note(written)

    def tidy(self) -> None:
        """Merge small tables if the disk has room; to be called in another thread."""
        if not self.read_only and has_free_space(str(self.folder), MERGE_BYTES):
            merge_small_tables(self._db, self._families)

    def take_snapshot(self) -> str:
        return str(take_snapshot(self.folder, lambda: self.is_closing))

    def why_gone(self) -> str | None:
        return self.place.why_gone()

    def recover(self) -> Recovered:
        """Raises `Unavailable`."""
        try:
            return super().recover()
        except Exception as error:  # rocksdict raises no narrower type
            raise Unavailable(why_not(self.folder, str(error))) from None


def open_store(place: DataFolder, url: str | None, read_only: bool) -> Store:
    """Open the store in a folder that the caller keeps claimed. Raises as `Store` does."""
    return Store(str(place.folder), url, read_only=read_only, place=place)
