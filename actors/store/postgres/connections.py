"""Connections to PostgreSQL, set up alike, and its errors as plain ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# A statement that waits for a dead peer or a forgotten lock ends by itself. `jit` compiles for
# longer than our statements run. What the user's conninfo says in `options` comes last, and wins.
_OPTIONS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
}
# A server, database or user may have it off, for speed: then a crash would take back what we have
# acknowledged, and who leads. Stronger settings stay.
_COMMIT_DURABLY = """SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'"""
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 5000,
    "application_name": "ollama-queue",
}


class PostgresError(OSError):
    """PostgreSQL cannot be reached, or has refused a statement."""


def settings_of(conninfo: str, **options: str) -> str:
    """The conninfo with our settings. `options` are settings of PostgreSQL, before ours.

    Raises `PostgresError` for a conninfo that is none.
    """
    try:
        user = conninfo_to_dict(conninfo)
    except psycopg.Error as error:  # it may quote a password
        raise PostgresError(f"PostgreSQL: {str(error).strip().replace(conninfo, '…')}") from None
    ours = " ".join(f"-c {name}={value}" for name, value in (_OPTIONS | options).items())
    user["options"] = f"{ours} {user.get('options') or ''}".strip()
    return make_conninfo("", **(_DEFAULTS | user))


def connect(conninfo: str, **options: str) -> "psycopg.Connection[Any]":
    """Connect, in autocommit: a statement ends without us, and leaves no lock if we are stopped.

    `options` are settings of PostgreSQL for this connection, as in `statement_timeout="0"`.
    Raises `PostgresError`.
    """
    with plain_errors():
        connection = psycopg.connect(settings_of(conninfo, **options), autocommit=True)
        connection.execute(_COMMIT_DURABLY)
        return connection


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise psycopg's errors as `PostgresError`, in one line."""
    try:
        yield
    except psycopg.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise PostgresError(f"PostgreSQL: {lines[0] if lines else type(error).__name__}") from None
