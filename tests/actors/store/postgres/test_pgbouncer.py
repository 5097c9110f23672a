"""PgBouncer drops the settings of connections, and what is set in one: it is refused."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ollama_queue import QueueManager, Unavailable
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.real_models import model_server

CONFIG = """
[databases]
* = host={folder} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextmanager
def pgbouncer(postgres: PostgresServer, folder: Path, mode: str, more: str) -> Iterator[int]:
    """Its port."""
    port = model_server.ReservedPort().number
    config = folder / "pgbouncer.ini"
    where = Path(postgres.socket_path).parent
    config.write_text(CONFIG.format(folder=where, port=port, mode=mode) + more)
    command = ["setpriv", "--pdeathsig", "KILL"]
    if os.getuid() == 0:  # which it refuses
        command += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    # It is read from standard input: its folder is not for others.
    with (
        config.open() as file,
        subprocess.Popen(
            [*command, "pgbouncer", "/dev/stdin"], stdin=file, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr is not None
        assert any("process up" in line for line in process.stderr)
        yield port
        process.kill()


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options\n"])
def test_one_sentence_says_what_to_use(
    postgres: PostgresServer, conninfo: str, tmp_path: Path, mode: str, more: str
) -> None:
    with pgbouncer(postgres, tmp_path, mode, more) as port:
        queue = QueueManager(storage=postgres.conninfo_at(port, conninfo))
        with pytest.raises(Unavailable, match=r"PgBouncer.*; use the address of PostgreSQL itself"):
            queue.start()

    with psycopg.connect(conninfo) as connection:
        tables = connection.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == []
