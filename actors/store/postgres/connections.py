"""Connections to PostgreSQL, set up alike, and its errors as plain ones."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...core.fleet.refusals import DISK_FULL, READ_ONLY, REFUSED

T = TypeVar("T")
SILENCE_S = 15.0  # of PostgreSQL during a statement, which it ends itself before that
# A statement that waits for a dead peer or a forgotten lock ends by itself, and PostgreSQL gives up
# a client that is silently gone. `jit` compiles for longer than our statements run. What the user's
# conninfo says in `options` comes last, and wins.
_OPTIONS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "default_transaction_isolation": "read\\ committed",
    "jit": "off",
    "ollama_queue.settings": "here",  # a name that means nothing to PostgreSQL
}
# A pooler may drop all of them. And a server, database or user may have `synchronous_commit` off,
# for speed: then a crash would take back what we have acknowledged, and who leads. Stronger values
# stay.
_SETTLE = """SELECT current_setting('ollama_queue.settings', true),
CASE WHEN current_setting('synchronous_commit') = 'off'
    THEN set_config('synchronous_commit', 'on', false) END"""
POOLED = (
    "PostgreSQL: queue.storage leads to a pooler, such as PgBouncer, that drops the settings of "
    "connections; use the address of PostgreSQL itself"
)
# A network that is cut drops what is sent, and says nothing. These find it out, also for a
# connection that waits.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "ollama-queue",
}


class PostgresError(OSError):
    """PostgreSQL cannot be reached, or has refused a statement."""


class StatementRefused(PostgresError):
    """PostgreSQL has refused a statement, of which nothing was done."""


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL was not waited for any longer. The connection is closed: the answer may still
    come."""


class Patience:
    """How long connections wait for PostgreSQL to say something; `end` it from any thread."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self.is_over = False

    def end(self) -> None:
        """Have all that waits raise `NoAnswer` within 0.1 s, and all that follows."""
        self.is_over = True


class PatientConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever.

    TCP notices that a peer is gone. It does not notice that a peer, or a proxy before it, takes all
    that it is sent and never answers, as it does while it is frozen.
    """

    patience = Patience()

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        try:
            return super().wait(_impatient(gen, self.patience), *args, **kwargs)
        except NoAnswer:
            self.pgconn.finish()
            raise


def _impatient(work: Generator[Any, Any, T], patience: Patience) -> Generator[Any, Any, T]:
    """`work`, which raises `NoAnswer` once its socket has not been ready for too long."""
    due = monotonic() + patience.silence_s
    try:
        wanted = next(work)
        while True:
            ready = yield wanted  # none, ten times a second while nothing comes
            now = monotonic()
            if ready:
                due = now + patience.silence_s
            elif patience.is_over:
                raise NoAnswer("its answer is of no use any more")
            elif now >= due:
                raise NoAnswer(f"it has not answered for {patience.silence_s:g} s")
            wanted = work.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result


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


def connect(
    conninfo: str, patience: Patience = PatientConnection.patience, /, **options: str
) -> PatientConnection:
    """Connect, in autocommit: a statement ends without us, and leaves no lock if we are stopped.

    `options` are settings of PostgreSQL for this connection, as in `statement_timeout="0"`.
    Raises `PostgresError`.
    """
    with plain_errors():
        connection = PatientConnection.connect(settings_of(conninfo, **options), autocommit=True)
        connection.patience = patience
        ((settings, _),) = connection.execute(_SETTLE).fetchall()
    if settings is None:
        connection.close()
        raise PostgresError(POOLED)
    return connection


def is_refusal(error: psycopg.Error) -> bool:
    """Whether PostgreSQL has refused a statement, rather than that the connection is gone."""
    return error.sqlstate is not None and not error.sqlstate.startswith(("08", "57P"))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise psycopg's errors as `PostgresError`, in one line."""
    try:
        yield
    except psycopg.Error as error:
        if "unsupported startup parameter" in str(error):
            raise PostgresError(POOLED) from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        line = lines[0] if lines else type(error).__name__
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            raise StatementRefused(READ_ONLY) from None
        if isinstance(error, psycopg.errors.DiskFull):
            raise StatementRefused(f"{DISK_FULL} ({line})") from None
        if is_refusal(error):
            raise StatementRefused(f"{REFUSED}: {line}") from None
        raise PostgresError(f"PostgreSQL: {line}") from None
