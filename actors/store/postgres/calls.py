"""Calls that servers make for the leader: read by the server, their ends written by it and read by
the leader. A notification is a hint; who misses it looks once a second."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import psycopg
from msgspec import Struct

from ...core.messages.replies import CallSpec
from ...core.model.orders import AssignedCall
from ...core.model.outcomes import CallEnd
from ..encoding import after, decode_call, decode_end, decode_record, encode
from .connections import Patience, connect, plain_errors
from .saving import CALLS_OF
from .tables import BY_KEY

_ENDS_CHANGED = "ollama_queue_ends"
# A key is the server's id, the task's, and the attempt, with colons between.
_CALLS = b"""
SELECT c.key, c.value, t.value, s.value FROM calls c
LEFT JOIN tasks t ON c.key <> ALL(%b::bytea[]) AND t.key = substring(c.key FROM 38 FOR 36)
LEFT JOIN specs s ON s.key = t.key
WHERE c.key >= %b AND c.key < %b ORDER BY c.key"""
# One that is no longer there was dropped by the leader: its end means nothing.
_END = f"""
WITH saved AS (
    INSERT INTO ends SELECT e.key, e.value FROM unnest(%b::bytea[], %b::bytea[]) e (key, value)
    JOIN calls USING (key) ON CONFLICT (key) DO NOTHING RETURNING key
) SELECT pg_notify('{_ENDS_CHANGED}', '') FROM (SELECT FROM saved LIMIT 1) AS any_saved""".encode()
_ENDS = b"SELECT key, CASE WHEN key <> ALL(%b::bytea[]) THEN value END FROM ends ORDER BY key"


class SeenCall(Struct, frozen=True):
    """A call that a server is to make. `spec` is None if it knows it, or the task is gone."""

    key: str
    call: AssignedCall
    spec: CallSpec | None


class _Watch:
    """A connection that is told of changes. Used by one thread; raises `PostgresError`."""

    def __init__(self, conninfo: str, channel: str) -> None:
        self._connection = connect(conninfo, Patience(), **BY_KEY)
        try:
            with plain_errors():
                self._connection.execute(f'LISTEN "{channel}"'.encode())
        except BaseException:
            self.close()
            raise

    def wait(self, seconds: float) -> None:
        """Wait for a change, so long at most."""
        with plain_errors():
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass

    def _rows(self, statement: bytes, values: Iterable[Any]) -> list[Any]:
        with plain_errors():
            return self._connection.execute(statement, tuple(values), binary=True).fetchall()

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()


class CallWatch(_Watch):
    """What the leader has one server do."""

    def __init__(self, conninfo: str, server: str) -> None:
        super().__init__(conninfo, CALLS_OF + server)
        self._start = f"{server}:".encode()

    def read(self, known: Collection[str]) -> list[SeenCall]:
        """All calls of this server; those not `known` with what they ask."""
        keys = [key.encode() for key in known]
        rows = self._rows(_CALLS, (keys, self._start, after(self._start)))
        return [
            SeenCall(key.decode(), decode_call(call), _spec(task, spec))
            for key, call, task, spec in rows
        ]


class CallEndWatch(_Watch):
    """The ends of calls that other servers have made."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(conninfo, _ENDS_CHANGED)
        self._seen: list[bytes] = []

    def read(self) -> tuple[tuple[str, CallEnd], ...]:
        """Those that were not there before, by the keys of their calls."""
        rows = self._rows(_ENDS, (self._seen,))
        self._seen = [key for key, _ in rows]
        return tuple((key.decode(), decode_end(end)) for key, end in rows if end is not None)


class EndWriter:
    """Writes how calls ended. Used by one thread; raises `PostgresError`."""

    def __init__(self, conninfo: str) -> None:
        self._connection = connect(conninfo, Patience(35.0), **BY_KEY, statement_timeout="30s")

    def write(self, ends: Collection[tuple[str, CallEnd]]) -> None:
        """Written again, they change nothing."""
        keys, values = [key.encode() for key, _ in ends], [encode(end) for _, end in ends]
        with plain_errors():
            self._connection.execute(_END, (keys, values), binary=True)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()


def _spec(task: bytes | None, spec: bytes | None) -> CallSpec | None:
    if task is None or spec is None:
        return None
    record = decode_record(task)
    return CallSpec(record.type, record.model, spec, record.traceparent)
