"""The bytes of files in PostgreSQL: rows of a piece each, so that no more is held in memory."""

from functools import cached_property

from ...files.blobs import OpenBlob
from .tables import Tables

_PIECE = 1 << 20  # bytes
_CREATE = b"INSERT INTO blobs VALUES (%s, 0, '') ON CONFLICT DO NOTHING"
_ADD = b"INSERT INTO blobs VALUES (%s, %s, %b) ON CONFLICT DO NOTHING"
_LAST = b"SELECT max(n) FROM blobs WHERE name = %s"
_PART = b"SELECT bytes FROM blobs WHERE name = %s AND n = %s"
_HAS = b"SELECT 1 FROM blobs WHERE name = %s AND n = 0"
_ALL = b"SELECT name FROM blobs WHERE n = 0"
_REMOVE = b"DELETE FROM blobs WHERE name = %s"


class PostgresBlobs:
    """`Blobs` in the table `blobs`. What is written is durable at once.

    Row 0 is empty: it says that a blob is there. Each statement can be repeated.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, blob_id: str) -> OpenBlob:
        self._tables.change(_CREATE, (blob_id,))
        return _BlobInPostgres(self._tables, blob_id, 0)

    def open(self, blob_id: str) -> OpenBlob:
        ((last,),) = self._tables.all(_LAST, (blob_id,))
        if last is None:
            raise FileNotFoundError(f"there is no {blob_id}")
        return _BlobInPostgres(self._tables, blob_id, last)

    def has(self, blob_id: str) -> bool:
        return bool(self._tables.all(_HAS, (blob_id,)))

    def remove(self, blob_id: str) -> None:
        """Remove. Those who have it open get an error at its next piece."""
        self._tables.change(_REMOVE, (blob_id,))

    def ids(self) -> set[str]:
        return {name for (name,) in self._tables.all(_ALL)}

    def release(self) -> None:
        """Nothing: the tables are closed by who has opened them."""


class LatePostgresBlobs(PostgresBlobs):
    """The same for doors, which exist before the tables do: connected when first used."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    @cached_property
    def _tables(self) -> Tables:  # type: ignore[override]  # read-only, as it is there
        return Tables(self._conninfo)

    def release(self) -> None:
        tables = self.__dict__.pop("_tables", None)
        if tables is not None:
            tables.close()


class _BlobInPostgres:
    def __init__(self, tables: Tables, blob_id: str, last: int) -> None:
        self._tables, self._id, self._last = tables, blob_id, last
        self._next = 1  # the row to write or to read
        self._rest = b""

    def write(self, data: bytes) -> None:
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            self._tables.change(_ADD, (self._id, self._next, piece))
            self._next += 1

    def read(self, size: int) -> bytes:
        while not self._rest and self._next <= self._last:
            rows = self._tables.all(_PART, (self._id, self._next))
            if not rows:
                raise FileNotFoundError(f"{self._id} was removed while it was read")
            self._rest = rows[0][0]
            self._next += 1
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass
