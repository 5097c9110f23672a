"""A store in PostgreSQL, opened for reading only, as of one moment, while its servers run."""

from typing import Self

from ..core.model.errors import Unavailable
from ..store.encoding import FAMILIES
from ..store.postgres.blobs import PostgresBlobs
from ..store.postgres.connections import PostgresError
from ..store.postgres.families import PostgresFamily
from ..store.postgres.overlay import Overlay
from ..store.postgres.row_cache import RowCache
from ..store.postgres.schema import prepare
from ..store.postgres.tables import Tables
from .store_reader import StoredRows


class PostgresReader(StoredRows):
    """The families of the queue there, and its `blobs`. A context manager."""

    def __init__(self, conninfo: str) -> None:
        """Raises `Unavailable` with a clear sentence."""
        prepare(conninfo)
        try:
            self._tables = Tables(conninfo)
            self._view = self._tables.hold()
        except PostgresError as error:
            raise Unavailable(str(error)) from None
        self.blobs = PostgresBlobs(self._tables)
        self.families = {name: self._family(name) for name in FAMILIES}

    def _family(self, name: str) -> PostgresFamily:
        nothing = Overlay(0)
        return PostgresFamily(name, nothing, self._view, RowCache(name, nothing, self._view))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._view.release()
        self._tables.close()
