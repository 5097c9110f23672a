"""The rows in which servers show themselves and one of them leads: statements and a connection.

Each change is one statement, which PostgreSQL finishes whatever becomes of its client. Whether a
server is alive is judged by the database's clock alone, so that those of the servers do not matter.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from msgspec import Struct

from ...core.fleet.candidacy import Question
from ...core.fleet.servers import FleetServer, Leader, Sight
from ...core.model.access_keys import AccessKey
from ..encoding import decode_access_key
from .connections import Patience, connect, plain_errors

BURIED_AFTER = 3  # times the TTL: a server that has been silent for so long is no longer listed
_CHANNEL = "ollama_queue_leader"  # told when the leader resigns

LEAD_IF = """
UPDATE leader SET epoch = epoch + 1, server = %(me)s, url = %(url)s, seen_at = clock_timestamp()
WHERE server = %(me)s
    OR seen_at < clock_timestamp() - make_interval(secs => %(ttl)s)
RETURNING epoch"""
KEEP_LEAD = """
UPDATE leader SET seen_at = clock_timestamp(), url = %(url)s
WHERE epoch = %(epoch)s AND server = %(me)s RETURNING epoch"""
RESIGN = "UPDATE leader SET seen_at = '-infinity' WHERE server = %(me)s RETURNING epoch"
BEAT = """
INSERT INTO servers (id, url, slots, version, settings, seen_at)
VALUES (%(me)s, %(url)s, %(slots)s, %(version)s, %(settings)s, clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET url = excluded.url, slots = excluded.slots, seen_at = excluded.seen_at"""
LEAVE = "DELETE FROM servers WHERE id = %(me)s"
BURY = "DELETE FROM servers WHERE seen_at < clock_timestamp() - make_interval(secs => %(ttl)s)"
LEADER = """
SELECT epoch, server::text, url FROM leader
WHERE server IS NOT NULL AND seen_at >= clock_timestamp() - make_interval(secs => %(ttl)s)"""
# The leader's own calls have no rows: they are what runs besides.
WHO = """
SELECT id::text, url, slots, version, settings,
    extract(epoch FROM clock_timestamp() - seen_at)::float8,
    (SELECT count(*) FROM calls WHERE key >= convert_to(id || ':', 'UTF8')
        AND key < convert_to(id || ';', 'UTF8')),
    (SELECT count(*) FROM index WHERE key >= 's1' AND key < 's2')
FROM servers ORDER BY url, id"""

_STORED_KEYS = "FROM meta WHERE key >= 'access:' AND key < 'access;'"
_KEYS = f"SELECT value {_STORED_KEYS}"
_KEYS_DIGEST = f"SELECT md5(string_agg(value, ''::bytea ORDER BY key)) {_STORED_KEYS}"
_MAKE_SECRET = "INSERT INTO meta VALUES ('fleet_secret', %s) ON CONFLICT DO NOTHING"
_SECRET = "SELECT value FROM meta WHERE key = 'fleet_secret'"


class Me(Struct, frozen=True):
    """What a server says of itself. `id` is a UUID of this start, `settings` a digest."""

    id: str
    url: str | None
    slots: int
    version: str
    settings: bytes


class Leadership:
    """One server's connection for the election. Used by one thread; raises `PostgresError`."""

    def __init__(self, conninfo: str, me: Me, ttl_s: float) -> None:
        self._conninfo, self.me, self._ttl_s = conninfo, me, ttl_s
        self._connection: psycopg.Connection[Any] | None = None
        self._keys: tuple[AccessKey, ...] = ()
        self._keys_digest: str | None = None
        self._mine = {
            "me": me.id,
            "url": me.url,
            "slots": me.slots,
            "version": me.version,
            "settings": me.settings,
            "ttl": ttl_s,
        }

    def beat(self, question: Question, epoch: int | None) -> tuple[int | None, Sight]:
        """Show this server and ask who leads; with `KEEP` of `epoch` or `TRY`, lead if it may.

        Returns the epoch in which this server leads, or None, and what it saw.
        """
        with self._working():
            leads = None
            if question is Question.KEEP:
                leads = self._value(KEEP_LEAD, epoch=epoch)
            elif question is Question.TRY:
                leads = self._value(LEAD_IF)
            self._run(BEAT)
            if leads is not None:
                self._run(BURY, ttl=self._ttl_s * BURIED_AFTER)
            return leads, self._sight()

    def offer(self, slots: int) -> None:
        """From the next beat on, show that this server makes so many calls at once. May be called
        in any thread."""
        self._mine = {**self._mine, "slots": slots}

    def resign(self) -> None:
        """Let another server lead at once, and leave."""
        try:
            with self._working():
                if self._value(RESIGN) is not None:
                    self._run(f"NOTIFY {_CHANNEL}")
                self._run(LEAVE)
        finally:
            self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _sight(self) -> Sight:
        epoch, server, url = self._run(LEADER).fetchone() or (0, None, None)
        leader = None if server is None else Leader(epoch, server, url, server == self.me.id)
        rows = self._run(WHO).fetchall()
        leads = {row[0]: row[4] for row in rows if row[0] == server}
        assigned = sum(row[6] for row in rows)
        servers = [
            FleetServer(
                id=id,
                url=url,
                leads=id in leads,
                version=version,
                slots=slots,
                calls=max(running - assigned, 0) + calls if id in leads else calls,
                lag_s=round(max(0.0, lag_s), 3),
                same_settings=settings == leads.get(server, settings),
                silent=lag_s > self._ttl_s,
            )
            for id, url, slots, version, settings, lag_s, calls, running in rows
        ]
        servers.sort(key=lambda each: not each.leads)
        is_alike = leads.get(server, self.me.settings) == self.me.settings
        return Sight(leader, servers, self._access_keys(), is_alike)

    def _access_keys(self) -> tuple[AccessKey, ...]:
        """The stored keys, which are read again when they have changed."""
        (digest,) = self._run(_KEYS_DIGEST).fetchone() or (None,)
        if digest != self._keys_digest:
            rows = self._run(_KEYS).fetchall()
            self._keys, self._keys_digest = tuple(decode_access_key(row[0]) for row in rows), digest
        return self._keys

    def _value(self, statement: str, **more: Any) -> int | None:
        row = self._run(statement, **more).fetchone()
        return None if row is None else row[0]

    def _run(self, statement: str, **more: Any) -> psycopg.Cursor[Any]:
        if self._connection is None or self._connection.closed:
            milliseconds = str(round(self._ttl_s * 1000))
            self._connection = connect(
                self._conninfo,
                Patience(self._ttl_s),  # a later answer is of no use
                statement_timeout=milliseconds,
                lock_timeout=milliseconds,
            )
        return self._connection.execute(statement.encode(), self._mine | more)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """After an error connect anew: whatever state a connection is in, a new one is in none."""
        try:
            with plain_errors():
                yield
        except BaseException:
            self.close()
            raise


def shared_secret(conninfo: str) -> bytes:
    """What only the servers of this queue know: made by the first. Raises `PostgresError`."""
    with plain_errors(), connect(conninfo) as connection:
        connection.execute(_MAKE_SECRET, [secrets.token_bytes(32)])
        row = connection.execute(_SECRET).fetchone()
    assert row is not None, "it was written just now"
    return bytes(row[0])


class ResignationListener:
    """Waits for the leader to resign, on a connection of its own. Raises `PostgresError`."""

    def __init__(self, conninfo: str) -> None:
        self._connection = connect(conninfo)
        try:
            with plain_errors():
                self._connection.execute(f"LISTEN {_CHANNEL}".encode())
        except BaseException:
            self.close()
            raise

    def wait(self, seconds: float) -> bool:
        """Whether the leader has resigned, waiting for so long at most."""
        with plain_errors():
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()
