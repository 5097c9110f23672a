"""Two servers of one queue that stay for many tests, each of which finds the queue empty."""

from pathlib import Path
from typing import Self

from ollama_queue.actors.store.encoding import FAMILIES, SHARED_FAMILIES
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import ServersOfQueue
from tests.support.servers.real_models import model_server

_KEPT = "meta"  # it has what the servers know of each other, too
_EMPTIED = ", ".join({*FAMILIES, *SHARED_FAMILIES, "blobs", "journal"} - {_KEPT})
# Beyond what a busy machine can make them wait: nobody but tests moves the lead.
_TTL_S = 60.0
_SETTINGS = "callbacks: {allowed_networks: [127.0.0.1]}\n"


class StandingFleet:
    """A server that leads and one that follows, with one call at a time in all; a context manager.
    Nobody leads between `end` and `begin`. Start it from the main thread."""

    def __init__(self, folder: Path, conninfo: str) -> None:
        self._port = model_server.ReservedPort()
        url = f"http://127.0.0.1:{self._port.number}"
        self._servers = ServersOfQueue(
            folder,
            url,
            conninfo,
            size=2,
            workers=1,
            parallel=1,
            settings=_SETTINGS,
            ttl_s=_TTL_S,
        )
        for server in self._servers.servers:
            server.more_environment = {"RETRY_MAX_RETRIES": "2", "RETRY_INITIAL_DELAY": "10ms"}

    def __enter__(self) -> Self:
        self._servers.__enter__()
        self.leader = self._servers.leader()
        (self.follower,) = self._servers.followers()
        with self._servers.connection() as connection:
            ((self._leads,),) = connection.execute(b"SELECT server FROM leader").fetchall()
        self._depose()
        return self

    def __exit__(self, *error: object) -> None:
        self._servers.__exit__(*error)

    def begin(self) -> FakeOllama:
        """Empty the queue, and have it led. Returns its model server, which is a new one."""
        self._model = FakeOllama(port=self._port)
        with self._servers.connection() as connection:
            connection.execute(f"TRUNCATE {_EMPTIED}".encode())
            connection.execute(b"DELETE FROM meta WHERE key <> 'fleet_secret'")
        self._appoint()
        return self._model

    def end(self) -> None:
        self._model.refuse()
        self._depose()

    def reboot(self) -> None:
        """Have the leader lose the lead, and take it again: it starts from what is stored."""
        self._depose()
        self._appoint()

    def epoch(self) -> int:
        return self._servers.epoch()

    def crashes(self) -> int:
        """How often an actor of a server has crashed, as far as logs tell."""
        return sum(each.log_text().count(" crashed") for each in (self.leader, self.follower))

    def _depose(self) -> None:
        """End the lead, and let nobody begin one."""
        with self._servers.connection() as connection:
            connection.execute(
                b"UPDATE leader SET epoch = epoch + 1, server = NULL, seen_at = 'infinity'"
            )
            connection.execute(b"NOTIFY ollama_queue_leader")

    def _appoint(self) -> None:
        """Give the lead back, and wait until both servers answer."""
        with self._servers.connection() as connection:
            connection.execute(
                b"UPDATE leader SET server = %b, seen_at = clock_timestamp()", [self._leads]
            )
            epoch = self.epoch()

            def leads() -> bool:
                """Beats are rare: ask for one."""
                connection.execute(b"NOTIFY ollama_queue_leader")
                return self.epoch() > epoch

            self._servers.until(leads)
        self._servers.ready(self.follower).close()
