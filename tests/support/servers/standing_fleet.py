"""Two servers of one queue that stay for many tests, each of which finds the queue empty."""

from pathlib import Path
from typing import Self

import httpx

from ollama_queue.actors.store.encoding import FAMILIES, SHARED_FAMILIES
from tests.support.servers.fleet import PATIENCE_S, ServersOfQueue
from tests.support.servers.real_models import model_server

# Not by TRUNCATE: its locks and those of a server that reads could wait for each other.
_TABLES = {*FAMILIES, *SHARED_FAMILIES, "blobs", "journal"} - {"meta"}
_EMPTY = [
    *(f"DELETE FROM {table}".encode() for table in sorted(_TABLES)),
    b"DELETE FROM meta WHERE key NOT IN ('fleet_secret', 'boot')",  # numbers of changes only rise
]
# Beyond what a busy machine can make them wait: nobody but tests moves the lead.
_TTL_S = 60.0
_SETTINGS = "callbacks: {allowed_networks: [127.0.0.1]}\n"


class StandingFleet:
    """A server that leads and one that follows, with one call at a time in all; a context manager.
    Nobody leads between `end` and `begin`. Start it from the main thread."""

    def __init__(self, folder: Path, conninfo: str) -> None:
        self.port = model_server.ReservedPort()
        url = f"http://127.0.0.1:{self.port.number}"
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
        self._http = httpx.Client(base_url=self.leader.base_url, timeout=PATIENCE_S)
        self._depose()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()
        self._servers.__exit__(*error)

    def begin(self) -> None:
        """Empty the queue, and have it led. Its model server, at `port`, is there already."""
        with self._servers.connection() as connection:
            for statement in _EMPTY:
                connection.execute(statement)
        self._appoint()

    def end(self) -> None:
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
        """End the lead, and let nobody begin one. Waits until the leader has heard of it: until
        then it makes calls."""
        with self._servers.connection() as connection:
            connection.execute(
                b"UPDATE leader SET epoch = epoch + 1, server = NULL, seen_at = 'infinity'"
            )
            connection.execute(b"NOTIFY ollama_queue_leader")
        self._servers.until(lambda: "leader" not in self._http.get("/readyz").text)

    def _appoint(self) -> None:
        """Give the lead back, and wait until both servers answer."""
        with self._servers.connection() as connection:
            epoch = self.epoch()
            connection.execute(
                b"UPDATE leader SET server = %b, seen_at = clock_timestamp()", [self._leads]
            )

            def leads() -> bool:
                """Beats are rare: ask for one."""
                connection.execute(b"NOTIFY ollama_queue_leader")
                return self.epoch() > epoch

            self._servers.until(leads)
        self._servers.ready(self.follower).close()
