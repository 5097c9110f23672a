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
from .connections import Patience, StatementRefused, connect, plain_errors

BURIED_AFTER = 3  # times the TTL: a server that has been silent for so long is no longer listed
_CHANNEL = "ollama_queue_leader"  # told when the leader resigns

# What a beat may ask, as the statement that answers it: with the row of `leader` if this server
# leads by then.
_LEADS: dict[Question, str] = {
    Question.TRY: """
UPDATE leader SET epoch = epoch + 1, server = %(me)s, url = %(url)s, seen_at = clock_timestamp()
WHERE server = %(me)s
    OR seen_at < clock_timestamp() - make_interval(secs => %(ttl)s)
RETURNING epoch, server, url""",
    Question.KEEP: """
UPDATE leader SET seen_at = clock_timestamp(), url = %(url)s
WHERE epoch = %(epoch)s AND server = %(me)s RETURNING epoch, server, url""",
    Question.LOOK: "SELECT epoch, server, url FROM leader WHERE false",
}
_COLUMNS = "id, url, slots, version, settings, seen_at, refusal"
_SHOW = f"""
INSERT INTO servers ({_COLUMNS})
VALUES (%(me)s, %(url)s, %(slots)s, %(version)s, %(settings)s, clock_timestamp(), %(refusal)s)
ON CONFLICT (id) DO UPDATE
SET url = excluded.url, slots = excluded.slots, seen_at = excluded.seen_at,
    refusal = excluded.refusal
RETURNING {_COLUMNS}"""
_SHOWN = """
SELECT %(me)s::uuid, %(url)s::text, %(slots)s::int, %(version)s::text, %(settings)s::bytea,
    clock_timestamp(), %(refusal)s::text"""
_BURY = """
DELETE FROM servers WHERE id <> %(me)s AND EXISTS (SELECT FROM mine)
    AND seen_at < clock_timestamp() - make_interval(secs => %(buried_after)s)"""
_NOBODY = "SELECT WHERE false"
_STORED_KEYS = "FROM meta WHERE key >= 'access:' AND key < 'access;'"
_KEYS = f"SELECT value {_STORED_KEYS}"


def _beat(mine: str, shown: str, buried: str) -> bytes:
    """A beat in one statement, which sees what it changes itself by what that returns: all else is
    as it was before. The leader's own calls have no rows: they are what runs besides."""
    return f"""
WITH mine AS ({mine}), shown ({_COLUMNS}) AS ({shown}), buried AS ({buried}), leads AS (
    SELECT * FROM mine UNION ALL SELECT epoch, server, url FROM leader
    WHERE server IS NOT NULL AND NOT EXISTS (SELECT FROM mine)
        AND seen_at >= clock_timestamp() - make_interval(secs => %(ttl)s)
), seen AS (
    SELECT * FROM shown UNION ALL SELECT {_COLUMNS} FROM servers WHERE id <> %(me)s
        AND seen_at >= clock_timestamp() - make_interval(secs => %(buried_after)s)
)
SELECT extract(epoch FROM clock_timestamp())::float8,
    (SELECT epoch FROM mine), leads.epoch, leads.server::text, leads.url,
    (SELECT md5(string_agg(value, ''::bytea ORDER BY key)) {_STORED_KEYS}),
    (SELECT count(*) FROM index WHERE key >= 's1' AND key < 's2'),
    seen.id::text, seen.url, slots, version, settings, refusal,
    extract(epoch FROM clock_timestamp() - seen_at)::float8,
    (SELECT count(*) FROM calls WHERE key >= convert_to(id || ':', 'UTF8')
        AND key < convert_to(id || ';', 'UTF8'))
FROM seen LEFT JOIN leads ON true ORDER BY seen.url, seen.id""".encode()


_BEATS = {question: _beat(mine, _SHOW, _BURY) for question, mine in _LEADS.items()}
_LOOK_ON = _beat(_LEADS[Question.LOOK], _SHOWN, _NOBODY)
RESIGN = "UPDATE leader SET seen_at = '-infinity' WHERE server = %(me)s RETURNING epoch"
LEAVE = "DELETE FROM servers WHERE id = %(me)s"
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
            "refusal": None,
            "ttl": ttl_s,
            "buried_after": ttl_s * BURIED_AFTER,
        }

    def beat(self, question: Question, epoch: int | None) -> tuple[int | None, Sight, str]:
        """Show this server and ask who leads; with `KEEP` of `epoch` or `TRY`, lead if it may.

        Returns the epoch in which this server leads, or None; what it saw; and the error with which
        PostgreSQL has refused the beat, or nothing. Of one that was refused, what it saw is all.
        """
        try:
            leads, sight = self._ask(_BEATS[question], epoch)
            if question is Question.TRY and leads is None and sight.leader is None:
                _, sight = self._ask(_LOOK_ON, None)  # who was quicker is not in what we saw
            return leads, sight, ""
        except StatementRefused as error:
            return *self._ask(_LOOK_ON, None), str(error)

    def offer(self, slots: int) -> None:
        """From the next beat on, show that this server makes so many calls at once. May be called
        in any thread."""
        self._mine = {**self._mine, "slots": slots}

    def refuse(self, refusal: str | None) -> None:
        """From the next beat on, show why this server, which leads, only reads. May be called in
        any thread."""
        self._mine = {**self._mine, "refusal": refusal}

    def resign(self) -> None:
        """Let another server lead at once, and leave."""
        try:
            with self._working():
                if self._run(RESIGN.encode()).fetchone() is not None:
                    self._run(f"NOTIFY {_CHANNEL}".encode())
                self._run(LEAVE.encode())
        finally:
            self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _ask(self, statement: bytes, epoch: int | None) -> tuple[int | None, Sight]:
        """The epoch in which this server leads, and what it saw."""
        with self._working():
            rows = self._run(statement, epoch=epoch).fetchall()
            at, leads, number, leading, url, digest, running = rows[0][:7]
            keys = self._access_keys(digest)
        leader = None if leading is None else Leader(number, leading, url, leading == self.me.id)
        seen = [row[7:] for row in rows]
        settings_there = next((row[4] for row in seen if row[0] == leading), None)
        assigned = sum(row[7] for row in seen)
        servers = [
            FleetServer(
                id=id,
                url=url,
                leads=id == leading,
                version=version,
                slots=slots,
                calls=max(running - assigned, 0) + calls if id == leading else calls,
                lag_s=round(max(0.0, lag_s), 3),
                same_settings=settings_there in (settings, None),
                silent=lag_s > self._ttl_s,
                read_only=refusal if id == leading else None,
            )
            for id, url, slots, version, settings, refusal, lag_s, calls in seen
        ]
        servers.sort(key=lambda each: not each.leads)
        is_alike = settings_there in (self.me.settings, None)
        return leads, Sight(leader, servers, keys, is_alike, at)

    def _access_keys(self, digest: str | None) -> tuple[AccessKey, ...]:
        """The stored keys, which are read again when they have changed."""
        if digest != self._keys_digest:
            rows = self._run(_KEYS.encode()).fetchall()
            self._keys, self._keys_digest = tuple(decode_access_key(row[0]) for row in rows), digest
        return self._keys

    def _run(self, statement: bytes, **more: Any) -> psycopg.Cursor[Any]:
        if self._connection is None or self._connection.closed:
            milliseconds = str(round(self._ttl_s * 1000))
            self._connection = connect(
                self._conninfo,
                Patience(self._ttl_s),  # a later answer is of no use
                statement_timeout=milliseconds,
                lock_timeout=milliseconds,
                plan_cache_mode="force_generic_plan",  # planning takes longer than the beat itself
            )
        return self._connection.execute(statement, self._mine | more)

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
