"""Several queue servers as processes on one PostgreSQL, and a journal of all that they store."""

import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Self

import psycopg

from ollama_queue import Client, QueueError, Status
from ollama_queue.actors.core.model.tasks import Record
from ollama_queue.actors.store.encoding import decode_record
from ollama_queue.actors.store.postgres.schema import prepare
from tests.support.servers.links import Link, to_path, to_port
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.queue_server import QueueServer

TTL_S = 2.0
PATIENCE_S = 30.0
# Each version of each task, as PostgreSQL has it: what no server can be mistaken about.
JOURNAL = """
CREATE TABLE journal (
    n bigserial PRIMARY KEY, value bytea, statement bigint DEFAULT txid_current()
);
CREATE FUNCTION note_task() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO journal (value) VALUES (NEW.value); RETURN NULL; END $$;
CREATE TRIGGER note_task AFTER INSERT OR UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.value <> '') EXECUTE FUNCTION note_task() -- not what is written as a trial
"""


class ServerOfFleet(QueueServer):
    """One of several servers of a queue."""

    def __init__(
        self,
        folder: Path,
        model_url: str,
        conninfo: str,
        workers: int = 4,
        settings: str = "",
        parallel: int | None = None,
    ) -> None:
        super().__init__(folder, model_url, workers=workers, settings=settings, parallel=parallel)
        self.conninfo = conninfo
        self.url = self.base_url  # where other servers reach it
        self.ttl_s = TTL_S
        self.more_environment: dict[str, str] = {}

    def command(self) -> list[str | Path]:
        command = super().command()
        at = command.index("--data-dir")
        return [*command[:at], "--storage", self.conninfo, *command[at + 2 :]]

    def environment(self) -> dict[str, str]:
        fleet = {"FLEET_TTL": f"{self.ttl_s}s", "FLEET_URL": self.url}
        return {**super().environment(), **fleet, **self.more_environment}

    def link(self, stack: ExitStack, database: PostgresServer) -> None:
        """Have it reach PostgreSQL, and be reached by other servers, over links."""
        self.to_database = stack.enter_context(Link(to_path(database.socket_path)))
        self.to_here = stack.enter_context(Link(to_port(self.port)))
        self.url = f"http://127.0.0.1:{self.to_here.port}"
        self.conninfo = database.conninfo_at(self.to_database.port, self.conninfo)

    def stop_running(self) -> None:
        """Stop the process as it is, as a debugger or a paused machine does."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Stop gracefully; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code


class ServersOfQueue:
    """The servers of one queue; a context manager. Start it from the main thread."""

    def __init__(
        self,
        folder: Path,
        model_url: str,
        conninfo: str,
        *,
        size: int = 3,
        workers: int = 4,
        parallel: int | None = None,
        settings: str = "",
        make: Callable[..., ServerOfFleet] = ServerOfFleet,
        linked_to: PostgresServer | None = None,
        ttl_s: float = TTL_S,
    ) -> None:
        """`linked_to`: where the tables are, if the servers reach it and each other over links."""
        self.conninfo = conninfo
        self.servers = [
            make(folder / f"server{n}", model_url, conninfo, workers, settings, parallel)
            for n in range(size)
        ]
        for server in self.servers:
            server.ttl_s = ttl_s
        self._links = ExitStack()
        if linked_to is not None:
            for server in self.servers:
                server.link(self._links, linked_to)

    def __enter__(self) -> Self:
        prepare(self.conninfo)
        self.keep_journal()
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._stack = stack.pop_all()
        self.leader()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()  # all at once: one by one, each would lead before it ends
        self._stack.close()
        self._links.close()

    def keep_journal(self) -> None:
        with self.connection() as connection:
            connection.execute(JOURNAL.encode())

    def leader(self) -> ServerOfFleet:
        """The server that leads, once one of those that run does."""
        found: list[ServerOfFleet] = []

        def look() -> bool:
            with self.connection() as connection:
                row = connection.execute(
                    b"SELECT url FROM leader"
                    b" WHERE seen_at > clock_timestamp() - make_interval(secs => %b)",
                    [max(TTL_S, self.servers[0].ttl_s / 2)],
                ).fetchone()
            found.extend(each for each in self.servers if row and each.url == row[0])
            return bool(found)

        self.until(look)
        return found[0]

    def followers(self) -> list[ServerOfFleet]:
        leader = self.leader()
        return [each for each in self.servers if each is not leader]

    def until(self, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Look again until it holds."""
        due, pause = monotonic() + patience_s, Event()
        while not holds():
            assert monotonic() < due, "it never holds"
            pause.wait(0.05)

    def count(self) -> int:
        """How many servers the leader knows to be there."""
        with self.ready(self.leader()) as client:
            return sum(not server.silent for server in client.list_servers())

    def epoch(self) -> int:
        with self.connection() as connection:
            ((epoch,),) = connection.execute(b"SELECT epoch FROM leader").fetchall()
        found: int = epoch
        return found

    def see_beats(self, count: int) -> None:
        """Wait until the leader has shown itself so often."""
        seen: set[datetime] = set()

        def look() -> bool:
            with self.connection() as connection:
                seen.update(*connection.execute(b"SELECT seen_at FROM leader").fetchall())
            return len(seen) > count

        self.until(look)

    def await_epoch(self, epoch: int) -> None:
        """Wait until this lead, or a later one, has begun."""
        self.until(lambda: self.epoch() >= epoch)

    def ready(self, server: ServerOfFleet) -> Client:
        """A client of a server, once the queue answers through it."""
        client = server.client()

        def answers() -> bool:
            with suppress(QueueError):
                client.get_queue_stats()
                return True
            return False

        self.until(answers)
        return client

    def groups(self) -> list[list[Record]]:
        """All versions of tasks in the order in which they were stored, by statement."""
        with self.connection() as connection:
            rows = connection.execute(b"SELECT statement, value FROM journal ORDER BY n").fetchall()
        return [
            [decode_record(value) for _, value in group]
            for _, group in groupby(rows, key=itemgetter(0))
        ]

    def versions(self) -> dict[str, list[Record]]:
        """All versions of each task, in the order in which they were stored."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in chain.from_iterable(self.groups()):
            found[record.id].append(record)
        return found

    @contextmanager
    def connection(self) -> Iterator["psycopg.Connection[Any]"]:
        """To their database."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            yield connection


def check_ends(versions: dict[str, list[Record]]) -> None:
    """Each task has ended once, and has not changed after that."""
    for task_id, records in versions.items():
        ended = [record.status.is_final for record in records]
        assert ended[-1], f"{task_id} has not ended"
        first = ended.index(True)
        assert all(ended[first:]), f"{task_id} went on after its end"
        ends = {(record.status, record.attempt) for record in records[first:]}
        assert len(ends) == 1, f"{task_id} has two ends: {ends}"


def check_order(groups: list[list[Record]]) -> int:
    """Each task started before those that should start after it: a replay. Returns the starts.

    A statement is what several decisions gathered to, so what changed in it is not compared with
    each other: each start is, with all tasks that waited before and still do. One that has run
    before may have to wait for its retry, and is compared only when it starts.
    """
    waiting: dict[str, tuple[int, datetime, str]] = {}
    attempts: dict[str, int] = defaultdict(int)
    starts = 0
    for group in groups:
        before = {record.id: waiting.pop(record.id, None) for record in group}
        first = min(waiting.values(), default=None)
        for record in group:
            place = -record.priority, record.queued_at, record.id
            if record.attempt > attempts[record.id]:
                attempts[record.id] = record.attempt
                starts += 1
                place = min(place, before[record.id] or place)  # it may have changed since
                assert first is None or place < first, f"{record.id} started before {first[-1]}"
            elif record.status is Status.PENDING and not record.attempt:
                waiting[record.id] = place
    return starts
