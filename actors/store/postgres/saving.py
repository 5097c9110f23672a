"""Writes commits to PostgreSQL: one statement, which writes nothing once another server leads."""

from functools import lru_cache
from typing import Any

from ..encoding import FAMILIES, SHARED_FAMILIES
from .connections import Patience, PostgresError, connect, plain_errors
from .overlay import Layer, Rows
from .tables import BY_KEY

CALLS_OF = "ollama_queue_calls_"  # a channel, plus a server's id: it has a call to make or to stop
_SERVER = 36  # characters of a server's id, with which the key of a call begins
_PATIENCE_S = 30  # for a statement: a single task may have 64 MiB
MOST_BYTES = 8 << 20  # of a statement, unless one commit has more
Shape = tuple[tuple[str, bool, bool], ...]
"""The families that a statement changes; whether it has rows to put, and to delete."""


class Fenced(PostgresError):
    """Another server leads the queue now. Nothing was written."""


class Saver:
    """The connection that writes, in the thread that waits for it.

    Whatever goes wrong, what is in PostgreSQL is unknown: it must be read anew.
    """

    def __init__(self, conninfo: str, epoch: int) -> None:
        """Writes as long as the leader's row has this epoch. Raises `PostgresError`."""
        self._epoch = epoch
        self._patience = Patience(_PATIENCE_S + 5.0)
        self._connection = connect(
            conninfo, self._patience, **BY_KEY, statement_timeout=f"{_PATIENCE_S}s"
        )

    def close(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        """Have what is written, or will be, fail at once. May be called in any thread."""
        self._patience.end()

    def save(self, layers: list[Layer]) -> None:
        """Write these commits, all or none; they follow those saved before.

        Raises `Fenced` or `PostgresError`.
        """
        tables: dict[str, Rows] = {}
        for layer in layers:
            for name, rows in layer.tables.items():
                tables.setdefault(name, {}).update(rows)
        shape: list[tuple[str, bool, bool]] = []
        values: list[Any] = [self._epoch, layers[-1].mark]
        servers: list[str] = []
        for name in sorted(tables):
            put = sorted((key, raw) for key, raw in tables[name].items() if raw is not None)
            deleted = sorted(key for key, raw in tables[name].items() if raw is None)
            if put:
                values += [[key for key, _ in put], [raw for _, raw in put]]
                if name == "calls":
                    servers = sorted({key[:_SERVER].decode() for key, _ in put})
            if deleted:
                values.append(deleted)
            shape.append((name, bool(put), bool(deleted)))
        if servers:
            values.append(servers)
        with plain_errors():
            saved = self._connection.execute(_statement(tuple(shape)), values, binary=True)
            if saved.fetchone() is None:
                raise Fenced(f"another server leads the queue: epoch {self._epoch} is over")


# `FOR KEY SHARE` lets the leader's signs of life pass. A takeover changes the key, so one waits for
# the other; after a takeover the row has another epoch, and nothing is written.
@lru_cache(maxsize=256)
def _statement(shape: Shape) -> bytes:
    parts = [
        "me AS MATERIALIZED (SELECT epoch FROM leader WHERE epoch = %s FOR KEY SHARE)",
        "mark AS (UPDATE marks SET value = %s FROM me WHERE name = 'saved')",
    ]
    for name, has_put, has_deleted in shape:
        if has_put:
            parts.append(
                f"put_{name} AS (INSERT INTO {name} SELECT r.* FROM me,"
                " unnest(%b::bytea[], %b::bytea[]) r ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value)"
            )
        if has_deleted:
            parts.append(
                f"deleted_{name} AS (DELETE FROM {name} USING me,"
                f" unnest(%b::bytea[]) r (key) WHERE {name}.key = r.key)"
            )
    told = ""
    if ("calls", True) in {(name, has_put) for name, has_put, _ in shape}:
        told = f", (SELECT count(pg_notify('{CALLS_OF}' || s, '')) FROM unnest(%s::text[]) s)"
    return f"WITH {', '.join(parts)} SELECT epoch{told} FROM me".encode()


# A row in each table, gone again, and room for a new table of 1 MiB: not more, or the probe itself
# could take what PostgreSQL's own log needs. Who may make no tables goes without that.
_TRIAL = f"""DO $$ BEGIN
{
    "".join(
        f"INSERT INTO {name} VALUES ('', ''); DELETE FROM {name} WHERE key = '';"
        for name in (*FAMILIES, *SHARED_FAMILIES)
    )
}
BEGIN
    CREATE UNLOGGED TABLE ollama_queue_trial WITH (fillfactor = 10)
        AS SELECT repeat(' ', 500) FROM generate_series(1, 128);
    DROP TABLE ollama_queue_trial;
EXCEPTION WHEN insufficient_privilege THEN END;
END $$""".encode()
_TRIAL_S = 3.0


def try_to_write(conninfo: str) -> None:
    """Write what leaves nothing behind. Raises `PostgresError` if that does not work."""
    milliseconds = str(round(_TRIAL_S * 1000))
    with (
        plain_errors(),
        connect(conninfo, Patience(_TRIAL_S + 1.0), statement_timeout=milliseconds) as connection,
    ):
        connection.execute(_TRIAL)


def portions(layers: list[Layer]) -> list[list[Layer]]:
    """The commits in order, as many together as one statement takes."""
    found: list[list[Layer]] = []
    size = 0
    for layer in layers:
        if not found or size + layer.size_in_bytes() > MOST_BYTES:
            found.append([])
            size = 0
        found[-1].append(layer)
        size += layer.size_in_bytes()
    return found
