"""The store in PostgreSQL: what is committed gathers in memory, and `sync` writes it, fenced."""

import threading
from collections.abc import Callable
from typing import TypeVar

from ...base.actor import log
from ...core.model.errors import Unavailable
from ...core.model.stats import Counts
from ..encoding import FAMILIES, SHARED_FAMILIES, TENANT, WHOLE, Family
from ..migrations import FORMAT, check_format, upgrade
from ..task_store import TaskStore
from .blobs import PostgresBlobs
from .connections import PostgresError
from .families import PostgresFamily, PostgresSnapshot
from .overlay import Layer, Overlay
from .row_cache import RowCache
from .saving import Saver, portions
from .tables import Tables

T = TypeVar("T")
_CACHED = ("tasks", "specs")  # which tasks need when they start


class PostgresStore(TaskStore):
    """The tables of one queue, and its right to write to them, for as long as it leads.

    All but `sync` and what `reading` returns is called in one thread.
    """

    def __init__(self, conninfo: str, epoch: int | None = None) -> None:
        """Open it; `prepare` has made the tables. Without an `epoch` it is read-only.

        Raises `Unavailable` with a sentence, also if another server leads meanwhile.
        """
        self.read_only = epoch is None
        self._saver: Saver | None = None
        self._overlay = Overlay(0)
        self._saving = threading.Lock()
        self._has_failed = False
        self._counts = Counts()
        try:
            self._stored = Tables(conninfo)
            super().__init__(PostgresBlobs(self._stored))
            try:
                self._open(conninfo, epoch)
            except BaseException:
                self.close()
                raise
        except PostgresError as error:
            raise Unavailable(str(error), retry_after_s=1) from None

    def _open(self, conninfo: str, epoch: int | None) -> None:
        self._caches = {
            name: RowCache(name, self._overlay, self._stored) for name in _CACHED if epoch
        }
        for name in (*FAMILIES, *SHARED_FAMILIES):
            cache = self._caches.get(name)
            self._tables[name] = PostgresFamily(name, self._overlay, self._stored, cache)
            self._handles[name] = name
        if epoch is None:
            check_format(self._tables["meta"], "PostgreSQL")
            self.boot = self._last_boot()
        else:
            self._saver = Saver(conninfo, epoch)
            self._begin()
        if epoch is not None:
            self.counts = self._load_counts()

    def _begin(self) -> None:
        """Check the format and count this boot, durably, before anything else is written."""
        check_format(self._tables["meta"], "PostgreSQL")
        self.boot = self._last_boot() + 1
        self._overlay.mark = self.boot << 32
        changes = self._changes()
        if self.row("meta", b"format") is None:
            changes.put(b"format", b"%d" % FORMAT, "meta")
        changes.put(b"boot", b"%d" % self.boot, "meta")
        self._commit_now(changes)
        upgrade(self._tables, self._handles, self._changes, self._commit_now)

    def _last_boot(self) -> int:
        return int(self.row("meta", b"boot") or b"0")

    def close(self) -> None:
        """Write what is committed, unless that has failed before, and release all connections."""
        saver, self._saver = self._saver, None
        if saver is not None:
            try:
                if not self._has_failed:
                    self._save(saver, self.written())
            except PostgresError as error:
                log.warning("the last commits could not be written: %s", error)
            saver.close()
        self._stored.close()

    def abandon(self) -> None:
        """Wait for PostgreSQL no longer, as another server leads; then close it.

        May be called in any thread, once the store is open.
        """
        if self._saver is not None:
            self._saver.abandon()
        self._stored.abandon()

    # --- writing --------------------------------------------------------------------------------

    def _changes(self) -> Layer:
        return Layer()

    def _commit(self, batch: Layer) -> None:
        self._overlay.commit(batch)
        for name, cache in self._caches.items():
            for key, value in batch.tables.get(name, {}).items():
                cache.note(key, value)

    def _commit_now(self, batch: Layer) -> None:
        self._commit(batch)
        self.sync(self.written())

    def written(self) -> int:
        return self._overlay.mark

    def sync(self, written: int) -> None:
        """Write all commits up to this one, in order: as many as go together at once or not at all.

        Raises `Fenced` if another server leads. After any error it raises again: what is in
        PostgreSQL is unknown, and later commits must not follow.
        """
        assert self._saver is not None, "opened for writing"
        self._save(self._saver, written)

    def _save(self, saver: Saver, written: int) -> None:
        with self._saving:
            if self._has_failed:
                raise PostgresError("PostgreSQL: an earlier commit failed")
            self._has_failed = True
            layers = [layer for layer in self._overlay.layers if layer.mark <= written]
            for portion in portions(layers):
                saver.save(portion)
                self._overlay.drop(portion[-1].mark)
            self._has_failed = False

    @property
    def unwritten_bytes(self) -> int:
        return self._overlay.size

    def tidy(self) -> None:
        """Nothing: PostgreSQL does it by itself."""

    def take_snapshot(self) -> str:
        raise PostgresError("the queue is in PostgreSQL: use pg_dump")

    def why_gone(self) -> str | None:
        return None

    # --- reading --------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """The counts of all tasks. Whoever does not write reads them anew each time."""
        return self._load_counts() if self.read_only else self._counts

    @counts.setter
    def counts(self, counts: Counts) -> None:
        self._counts = counts

    def counts_of(self, tenant: str) -> Counts:
        return (
            self._load_counts(TENANT + tenant.encode())
            if self.read_only
            else super().counts_of(tenant)
        )

    def whole(self, task_id: str) -> tuple[bytes | None, ...]:
        if not self.read_only:
            return super().whole(task_id)
        return self._stored.value_of_each(WHOLE, task_id.encode())

    def held_snapshots(self, *names: str) -> tuple[tuple[Family, ...], Callable[[], None]]:
        layers = self._overlay.layers
        held = self._stored.hold()
        return tuple(PostgresSnapshot(name, layers, held) for name in names), held.release

    def reading(self, read: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            with self._stored.view():
                return read()

        return run
