"""Several queue servers on one PostgreSQL, and what both have used."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.harness import Bench
from benchmarks.peers.install import program
from benchmarks.peers.stores import postgres
from benchmarks.processes import Process, cpu_s, server_on

T = TypeVar("T")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120.0


class Database:
    """A PostgreSQL of our own, as Debian configures it: each commit is synced before its answer."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.env = env  # of Procrastinate
        self._pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        where = conninfo_to_dict(env["POSTGRES"])
        self._url = "postgresql://{user}@{host}:{port}/{dbname}".format(**where)
        self._connection = psycopg.connect(self._url, autocommit=True)
        self._numbers = count(1)

    @property
    def cpu_s(self) -> float:
        """CPU time used by all of its processes, those that have ended included."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        stat = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        ended = (int(stat[13]) + int(stat[14])) * TICK_S
        used = 0.0
        for pid in (self._pid, *map(int, children)):
            with suppress(OSError):  # it has ended since
                used += cpu_s(pid)
        return used + ended

    @property
    def wal_bytes(self) -> int:
        return int(self.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def value(self, statement: str) -> Any:
        ((value,),) = self._connection.execute(statement.encode()).fetchall()
        return value

    def epoch(self, storage: str) -> int:
        """Which lead of a queue this is."""
        return int(self.value(f"SELECT epoch FROM {storage.rpartition('%3D')[2]}.leader"))

    def run(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    @contextmanager
    def queue(self) -> Iterator[str]:
        """A schema for one queue; yields `queue.storage`."""
        name = f"queue_{next(self._numbers)}"
        self.run(f"CREATE SCHEMA {name}")
        try:
            yield f"{self._url}?options=-csearch_path%3D{name}"
        finally:
            self.run("SET client_min_messages = warning")
            self.run(f"DROP SCHEMA {name} CASCADE")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    if program("initdb") is None:
        raise SystemExit("PostgreSQL was not found: apt install postgresql")
    with postgres(folder) as env:
        found = Database(folder, env)
        try:
            yield found
        finally:
            found.close()


class Used:
    """What a database and some processes have used for a number of tasks or chunks."""

    def __init__(self, database: Database, servers: Callable[[], float]) -> None:
        self._database, self._servers = database, servers
        self._before = self._now()

    def each(self, number: int, of: str = "each") -> dict[str, float]:
        """The figures since the start, divided."""
        database, servers, wal = (
            (now - before) / number for now, before in zip(self._now(), self._before, strict=True)
        )
        costs = {f"PostgreSQL CPU µs {of}": database * 1e6, f"Python CPU µs {of}": servers * 1e6}
        return costs if of != "each" else {**costs, "WAL KB each": wal / 1e3}

    def _now(self) -> tuple[float, float, float]:
        return self._database.cpu_s, self._servers(), self._database.wal_bytes


class Servers:
    """The servers of one queue, with the same settings; a context manager."""

    def __init__(self, bench: Bench, storage: str, count: int, settings: dict[str, Any]) -> None:
        self._bench, self._storage, self._settings = bench, storage, settings
        self._count = count
        self.all: list[Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.kill)
            while len(self.all) < self._count:
                self.start()
            stack.pop_all()
        self.all.sort(key=self.leads, reverse=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> Process:
        """Start one more, and wait until it knows who leads."""
        server = server_on(self._storage, self._bench.fresh(), self._settings)
        self.all.append(server)
        await_true(lambda: self.role(server) is not None)
        return server

    def kill(self) -> None:
        for server in self.all:
            server.kill()
        self.all.clear()

    def role(self, server: Process) -> str | None:
        """`leader` or `follower`; None while it is not ready."""
        with suppress(RuntimeError, OSError):
            role: str = server.get("/readyz")["role"]
            return role
        return None

    def leads(self, server: Process) -> bool:
        return self.role(server) == "leader"

    @property
    def leader(self) -> Process:
        return next(server for server in self.all if self.leads(server))

    @property
    def followers(self) -> Sequence[Process]:
        return [server for server in self.all if not self.leads(server)]

    def cpu_s(self) -> float:
        return sum(server.cpu_s for server in self.all)


def await_true(holds: Callable[[], bool], pause_s: float = 0.01) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it does not hold within {PATIENCE_S:g} s")
        time.sleep(pause_s)
