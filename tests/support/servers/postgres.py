"""PostgreSQL, really started: Debian's, in a folder of its own, for as long as a test run lasts."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Self

import psycopg

from ollama_queue.actors.store.encoding import FAMILIES
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.schema import prepare
from tests.support.small_disk import SmallDisk

_VERSIONS = Path("/usr/lib/postgresql")
_USER = "postgres"
# A socket in the folder, and no port: nobody else finds it. Without fsyncs it is as fast as memory,
# and survives the kill of its processes all the same.
_CONF = """
listen_addresses = ''
max_connections = 60
fsync = {fsync}
full_page_writes = {fsync}
shared_buffers = 32MB
autovacuum_naptime = 5s
log_min_messages = warning
"""


class PostgresServer:
    """One server; a context manager. `fsync` makes it as durable as users' servers are."""

    def __init__(self, *, fsync: bool = False, log_disk_mib: int | None = None) -> None:
        """`log_disk_mib`: the size of a disk that has nothing but PostgreSQL's own log (WAL)."""
        self._fsync, self._log_disk_mib = fsync, log_disk_mib
        self.log_disk: SmallDisk | None = None
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.getuid() == 0:  # which PostgreSQL refuses
            shutil.chown(self._folder, _USER, _USER)
        self._data = self._folder / "data"
        more: tuple[str, ...] = ()
        if self._log_disk_mib is not None:
            self.log_disk = SmallDisk(self.new_folder("log"), self._log_disk_mib)
            more = ("--waldir", str(self.new_folder("log/wal")), "--wal-segsize", "1")
        auth = ("-U", _USER, "-A", "trust")
        self._run("initdb", "-D", str(self._data), *auth, "-N", "-E", "UTF8", *more)
        conf = _CONF.format(fsync="on" if self._fsync else "off")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{conf}unix_socket_directories = '{self._folder}'\n")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.log_disk is not None:
            self.log_disk.close()
        shutil.rmtree(self._folder)

    @property
    def conninfo(self) -> str:
        """Where to connect to, as the superuser."""
        return f"postgresql://{_USER}@/{_USER}?host={self._folder}"

    @property
    def socket_path(self) -> str:
        return f"{self._folder}/.s.PGSQL.5432"

    def conninfo_at(self, port: int, conninfo: str) -> str:
        """The same place, reached at a loopback port."""
        _, _, options = conninfo.partition("&options=")
        there = f"postgresql://{_USER}@127.0.0.1:{port}/{_USER}"
        return f"{there}?sslmode=disable&options={options}"

    def new_folder(self, name: str) -> Path:
        """A folder that PostgreSQL may write to."""
        folder = self._folder / name
        folder.mkdir()
        if os.getuid() == 0:
            shutil.chown(folder, _USER, _USER)
        return folder

    @contextmanager
    def small_disk(self, size: int) -> Iterator[SmallDisk]:
        """A disk of so many MiB, of which PostgreSQL has the tablespace `small`."""
        disk = SmallDisk(self.new_folder("disk"), size)
        try:
            space = self.new_folder("disk/space")
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
                yield disk
                connection.execute("DROP TABLESPACE small")
        finally:
            disk.close()
            disk.folder.rmdir()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def start(self) -> None:
        command = self._command("postgres", "-D", str(self._data))
        self._process = subprocess.Popen(command, cwd="/", stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said: list[str] = []
        for line in self._process.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("".join(said))
        Thread(target=deque, args=(self._process.stderr, 0), daemon=True).start()

    def stop(self) -> None:
        """Stop at once, as a crash does: what was acknowledged is recovered by the next start."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def queue(self) -> Iterator[str]:
        """A place for the tables of one queue, and where to connect to for it."""
        name = f"queue_{next(self._numbers)}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        try:
            yield f"{self.conninfo}&options=-csearch_path%3D{name}"
        finally:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                connection.execute("SET client_min_messages = warning")
                connection.execute(f"DROP SCHEMA {name} CASCADE".encode())

    def emptied(self) -> str:
        """Where to connect to for a queue that is empty: always the same one."""
        conninfo = f"{self.conninfo}&options=-csearch_path%3Dqueue"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS queue")
            prepare(conninfo)
            connection.execute(f"TRUNCATE {', '.join(FAMILIES)}, blobs, servers".encode())
            connection.execute("UPDATE marks SET value = 0 WHERE name = 'saved'")
        return conninfo

    def cut(self) -> None:
        """Cut all connections."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def _run(self, program: str, *arguments: str) -> None:
        command = self._command(program, *arguments)
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self, program: str, *arguments: str) -> list[str]:
        """A command that ends when we do, however that comes."""
        newest = max(_VERSIONS.iterdir(), key=lambda version: int(version.name))
        user = ["--reuid", _USER, "--regid", _USER, "--init-groups"] if os.getuid() == 0 else []
        return ["setpriv", *user, "--pdeathsig", "QUIT", str(newest / "bin" / program), *arguments]


def take_lead(conninfo: str) -> int:
    """Lead the queue there from now on. Returns the epoch."""
    prepare(conninfo)
    with connect(conninfo) as connection:
        lead = "UPDATE leader SET epoch = epoch + 1, seen_at = clock_timestamp() RETURNING epoch"
        ((epoch,),) = connection.execute(lead).fetchall()
    return int(epoch)
