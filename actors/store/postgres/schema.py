"""The tables in PostgreSQL, created and changed by numbered migrations."""

from typing import Any, LiteralString

import psycopg

from ...core.model.errors import Unavailable
from .connections import Patience, PostgresError, connect, plain_errors

# A table for each family, sorted by key: `bytea` compares bytes, whatever the database's collation.
# Values change in place, without a change of any index, as pages have room for a second version: a
# task changes twice, and more room saves space, as versions elsewhere would stay until a vacuum.
# `marks` has the number of the last migration (`schema`) and of the last commit (`saved`). The
# families are spelled out: a migration never changes, whatever becomes of `FAMILIES`.
_FIRST = """
CREATE TABLE leader (
    epoch bigint PRIMARY KEY, server uuid, url text, seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO leader VALUES (0, NULL, NULL, '-infinity');
CREATE TABLE servers (
    id uuid PRIMARY KEY, url text, slots int NOT NULL, version text NOT NULL, settings bytea,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE marks (name text PRIMARY KEY, value bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO marks VALUES ('saved', 0);
CREATE TABLE meta (key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE specs (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE tasks (key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE results (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE index (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE batches (key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE crons (key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE files (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE blobs (name text, n int, bytes bytea NOT NULL, PRIMARY KEY (name, n));
ALTER TABLE blobs ALTER bytes SET STORAGE EXTERNAL;
ALTER TABLE index SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE tasks SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
"""
# Calls that servers other than the leader make, and how they ended: rows that soon go.
_CALLS = """
CREATE TABLE calls (key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE ends (key bytea PRIMARY KEY, value bytea NOT NULL);
ALTER TABLE calls SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE ends SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
"""
# Why the server that leads only reads.
_REFUSAL = "ALTER TABLE servers ADD COLUMN refusal text"
MIGRATIONS: tuple[LiteralString, ...] = (_FIRST, _CALLS, _REFUSAL)
_PATIENCE_S = 3600.0  # for a migration of large tables
_UNLIMITED = {"statement_timeout": "0", "lock_timeout": "60s"}
_LOCK = 0x6F6C_6C61_6D61  # a number that nobody else takes
# Not by `to_regclass`: its cache may not know yet what another server has just committed.
_IS_THERE = """SELECT FROM pg_tables
WHERE schemaname = current_schema() AND tablename = 'marks'"""
_NUMBER = "SELECT value FROM marks WHERE name = 'schema'"
_DONE = """INSERT INTO marks VALUES ('schema', %s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value"""


def prepare(conninfo: str) -> None:
    """Create the tables, or bring them up to date; every server does, before it takes part.

    Servers that do so at the same time wait for each other. Raises `Unavailable` with a sentence if
    PostgreSQL cannot be reached, or a newer version has changed the tables.
    """
    try:
        with connect(conninfo, Patience(_PATIENCE_S), **_UNLIMITED) as connection:
            if _number(connection) != len(MIGRATIONS):
                with plain_errors():
                    _migrate(connection)
    except PostgresError as error:
        raise Unavailable(str(error), retry_after_s=5) from None


def _migrate(connection: "psycopg.Connection[Any]") -> None:
    """Run what is missing. A transaction, unlike anything else: the server ends it if we stop."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for migration in MIGRATIONS[_number(connection) :]:
            connection.execute(migration)
        connection.execute(_DONE, (len(MIGRATIONS),))


def _number(connection: "psycopg.Connection[Any]") -> int:
    """The number of the last migration that was run; 0 before the first."""
    with plain_errors():
        is_there = connection.execute(_IS_THERE).fetchone() is not None
        row = connection.execute(_NUMBER).fetchone() if is_there else None
    number: int = row[0] if row else 0
    if number > len(MIGRATIONS):
        raise Unavailable(
            f"the tables in PostgreSQL have format {number}, this version reads "
            f"{len(MIGRATIONS)}: use a newer version"
        )
    return number
