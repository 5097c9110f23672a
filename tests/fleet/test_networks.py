"""Networks that are cut or slow: between one server and PostgreSQL, and between two servers."""

import threading
from pathlib import Path
from time import monotonic

import httpx
import pytest

from ollama_queue import Client
from ollama_queue import generate_task as generate
from tests.fleet.test_takeovers import BOOT_S, check_completed, role
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, TTL_S, ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer


class User:
    """Submits a task in a thread of its own."""

    def __init__(self, server: ServerOfFleet) -> None:
        self._server = server
        self._ids: list[str] = []
        self._thread = threading.Thread(target=self._submit)
        self._thread.start()

    def _submit(self) -> None:
        with Client(self._server.base_url) as client:
            self._ids.append(client.submit_task(generate("m", "during")))

    def acknowledged(self) -> str:
        """The task, once it is acknowledged."""
        self._thread.join(PATIENCE_S)
        assert self._ids, "it was not acknowledged"
        return self._ids[0]


@pytest.mark.parametrize("forgets", [False, True])
def test_a_leader_is_cut_off_from_postgresql(linked: ServersOfQueue, forgets: bool) -> None:
    """What it had sent arrives late, or its connections stay silent for ever."""
    old = linked.leader()
    with linked.ready(linked.followers()[0]) as client:
        before = client.submit_task(generate("m", "before"))

        old.to_database.cut()
        cut_at, user = monotonic(), User(old)
        after = client.submit_task(generate("m", "after"))
        took_s = monotonic() - cut_at
        assert linked.leader() is not old

        old.to_database.heal(forgets=forgets)
        during = user.acknowledged()
        linked.until(lambda: role(old.base_url) == "follower")
        with linked.ready(old) as again:
            last = again.submit_task(generate("m", "last"))
        check_completed(linked, client, [before, after, during, last])
    assert took_s < TTL_S + BOOT_S


def test_a_follower_is_cut_off_from_postgresql(linked: ServersOfQueue) -> None:
    leader, follower = linked.leader(), linked.followers()[0]
    with linked.ready(follower) as client:
        follower.to_database.cut()
        linked.until(lambda: follower.log_text().count("queue.storage does not answer") == 1)
        task_id = client.submit_task(generate("m", "hi"))
        follower.to_database.heal(forgets=True)
        linked.until(lambda: "queue.storage answers again" in follower.log_text())
        leader.kill()
        check_completed(linked, client, [task_id, client.submit_task(generate("m", "hi"))])


def test_followers_are_cut_off_from_the_leader(linked: ServersOfQueue) -> None:
    leader, follower = linked.leader(), linked.followers()[0]
    with linked.ready(follower) as client:
        before = client.submit_task(generate("m", "before"))

        leader.to_here.cut()
        answer = httpx.get(f"{follower.base_url}/api/backends", timeout=PATIENCE_S)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "does not reach the one that leads" in answer.text

        user = User(follower)
        assert httpx.get(f"{follower.base_url}/healthz").status_code == 200
        leader.to_here.heal()
        check_completed(linked, client, [before, user.acknowledged()])
        assert readiness(follower) == 200
    assert linked.leader() is leader


def readiness(server: ServerOfFleet) -> int:
    return httpx.get(f"{server.base_url}/readyz", timeout=PATIENCE_S).status_code


def test_links_are_slow(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> None:
    """200 ms to each answer of PostgreSQL, and 1 MB/s: a beat takes a second."""
    with (
        database.queue() as conninfo,
        ServersOfQueue(
            tmp_path, model.url, conninfo, size=2, ttl_s=5.0, linked_to=database
        ) as fleet,
        fleet.ready(fleet.followers()[0]) as client,
    ):
        epoch = fleet.epoch()
        for server in fleet.servers:
            server.to_database.delay_s = 0.2
            server.to_database.bytes_per_s = 1e6
        ids = [client.submit_task(generate("m", prompt)) for prompt in ("hi", "x" * 1_000_000)]
        check_completed(fleet, client, ids)
        fleet.see_beats(3)
        assert fleet.epoch() == epoch
