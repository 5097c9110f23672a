"""The tables in PostgreSQL, over a few connections; a statement that was cut is repeated once."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from .connections import (
    NoAnswer,
    Patience,
    PatientConnection,
    connect,
    is_refusal,
    plain_errors,
    settings_of,
)

T = TypeVar("T")
Connection = PatientConnection
_POOL = "ollama-queue"
_MOST_CONNECTIONS = 4
_PATIENCE_S = 5.0  # for a connection
# Rows are found by their keys. Statistics never decide: a plan made for an empty table would stay.
BY_KEY = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
_BEGIN = b"""BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT value FROM marks WHERE name = 'saved'"""
_HOLD = b"SET LOCAL idle_in_transaction_session_timeout = '60s'"  # other reads come in between


class RowReader(ABC):
    """Reads rows of the tables."""

    @abstractmethod
    def all(self, statement: bytes, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a statement that changes nothing. Raises `PostgresError`."""

    @abstractmethod
    def saved(self) -> int:
        """The number of the last commit in what is read; 0 if that is not one moment."""

    def value(self, table: str, key: bytes) -> bytes | None:
        rows = self.all(_value(table), (key,))
        return rows[0][0] if rows else None

    def values(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there."""
        return dict(self.all(_values(table), (list(keys),))) if keys else {}

    def value_of_each(self, tables: Sequence[str], key: bytes) -> tuple[bytes | None, ...]:
        """The value of the key in each of the tables, as of one moment."""
        (row,) = self.all(_value_of_each(tuple(tables)), (key,) * len(tables))
        return tuple(row)

    def rows(
        self, table: str, start: bytes, end: bytes, backwards: bool, most: int
    ) -> list[tuple[bytes, bytes]]:
        """The first rows in [start, end), or backwards the last ones: at most `most`."""
        return self.all(_between(table, backwards), (start, end, most))

    def rows_from(
        self, table: str, key: bytes, most: int, longest: int
    ) -> list[tuple[bytes, bytes | None]]:
        """The rows from `key` on, at most `most`. A value longer than `longest` bytes is None,
        but that of `key` itself."""
        return self.all(_from(table), (key, longest, key, most))


class Tables(RowReader):
    """Reads what is durable, at each statement anew; within `view` all as of one moment.

    May be used in any thread.
    """

    def __init__(self, conninfo: str) -> None:
        """Raises `PostgresError` if PostgreSQL cannot be reached."""
        self._patience = Patience()
        self._pool = ConnectionPool(
            settings_of(conninfo, **BY_KEY),
            connection_class=PatientConnection,
            kwargs={"autocommit": True},
            configure=self._configure,
            min_size=1,
            max_size=_MOST_CONNECTIONS,
            timeout=_PATIENCE_S,
            name=_POOL,
            open=False,
        )
        self._here = threading.local()
        try:
            with plain_errors():
                self._open(conninfo)
        except BaseException:
            self.close()
            raise

    def _open(self, conninfo: str) -> None:
        try:
            self._pool.open(wait=True, timeout=_PATIENCE_S)
        except PoolTimeout:
            connect(conninfo).close()  # a single connection says why it fails
            raise

    def close(self) -> None:
        self._pool.close()

    def abandon(self) -> None:
        """Have all reads fail at once. May be called in any thread."""
        self._patience.end()

    def _configure(self, connection: Connection) -> None:
        connection.patience = self._patience

    # --- statements -----------------------------------------------------------------------------

    def all(self, statement: bytes, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._run(lambda c: c.execute(statement, values, binary=True).fetchall(), self._view)

    def change(self, statement: bytes, values: tuple[Any, ...]) -> None:
        """Carry out a statement that may be carried out twice, whatever the view.

        Raises `PostgresError`.
        """
        self._run(lambda c: c.execute(statement, values), None)

    # --- views ----------------------------------------------------------------------------------

    @contextmanager
    def view(self) -> Iterator[None]:
        """Have this thread read all as of one moment, that of its first read in there.

        The transaction is read-only, and short: it ends with the `with`.
        """
        view = self._here.view = _View(self._pool)
        try:
            yield
        finally:
            self._here.view = None
            view.leave()

    def hold(self) -> "HeldView":
        """What reads all as of now, in any thread, until it is released."""
        self._run(lambda _: None, None)  # finds out which connections were cut
        with plain_errors():
            return HeldView(self._pool)

    def saved(self) -> int:
        view = self._view
        if view is None:
            return 0
        if view.connection is None:
            self._run(lambda _: None, view)
        return view.saved

    @property
    def _view(self) -> "_View | None":
        return getattr(self._here, "view", None)

    def _run(self, work: Callable[[Connection], T], view: "_View | None") -> T:
        with plain_errors():
            try:
                return self._once(work, view)
            except psycopg.OperationalError as error:
                if not _is_cut(error):
                    raise
            if view is not None:
                view.leave()
            self._pool.check()  # the others may have been cut as well
            return self._once(work, view)

    def _once(self, work: Callable[[Connection], T], view: "_View | None") -> T:
        if view is not None:
            return work(view.enter())
        with self._pool.connection() as connection:
            return work(connection)


class _View:
    """A transaction, begun with the first read."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self.connection: Connection | None = None
        self.saved = 0

    def enter(self) -> Connection:
        if self.connection is None:
            self.connection = self._pool.getconn()
            cursor = self.connection.execute(_BEGIN)
            cursor.nextset()
            (self.saved,) = cursor.fetchall()[0]
        return self.connection

    def leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(psycopg.Error):  # the pool replaces it
                connection.execute("COMMIT")
            self._pool.putconn(connection)


class HeldView(RowReader):
    """A view for several reads, in one thread after the other. One that is cut is over."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._view = _View(pool)
        try:
            self._view.enter().execute(_HOLD)
        except BaseException:
            self.release()
            raise

    def all(self, statement: bytes, values: tuple[Any, ...] = ()) -> list[Any]:
        with plain_errors():
            return self._view.enter().execute(statement, values, binary=True).fetchall()

    def saved(self) -> int:
        return self._view.saved

    def release(self) -> None:
        self._view.leave()


def _is_of_another_pool(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return _POOL not in message and PatientConnection.__name__ not in message


# It says at each try what those who wait for a connection say once.
logging.getLogger("psycopg.pool").addFilter(_is_of_another_pool)


def _is_cut(error: psycopg.OperationalError) -> bool:
    """Whether the connection is gone, rather than a statement that took too long."""
    return not (isinstance(error, NoAnswer) or is_refusal(error))


@lru_cache
def _value(table: str) -> bytes:
    return f"SELECT value FROM {table} WHERE key = %b".encode()


@lru_cache
def _value_of_each(tables: tuple[str, ...]) -> bytes:
    values = (f"(SELECT value FROM {table} WHERE key = %b)" for table in tables)
    return f"SELECT {', '.join(values)}".encode()


@lru_cache
def _values(table: str) -> bytes:
    rows = f"unnest(%b::bytea[]) wanted (key) JOIN {table} USING (key)"
    return f"SELECT key, value FROM {rows}".encode()


@lru_cache
def _between(table: str, backwards: bool) -> bytes:
    order = "DESC" if backwards else "ASC"
    where = "key >= %b AND key < %b"
    return f"SELECT key, value FROM {table} WHERE {where} ORDER BY key {order} LIMIT %s".encode()


@lru_cache
def _from(table: str) -> bytes:
    value = "CASE WHEN key = %b OR octet_length(value) <= %s THEN value END"
    return f"SELECT key, {value} FROM {table} WHERE key >= %b ORDER BY key LIMIT %s".encode()
