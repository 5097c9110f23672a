"""Keys and addresses: a server that follows is no way around either."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

from ollama_queue import Client, chat_task
from tests.http.requests.test_proxies import address_of_this_machine
from tests.support.fakes.behaviours import Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer

WORKERS = 4
MOST = 2  # connections of an address


def post(server: ServerOfFleet, path: str, headers: dict[str, str], source: str = "") -> Any:
    transport = httpx.HTTPTransport(local_address=source or None)
    with httpx.Client(transport=transport, headers=headers, timeout=30) as client:
        return client.post(f"{server.base_url}{path}")


def test_the_leader_sees_the_client_s_address(fleet: ServersOfQueue) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]

    post(follower, "/api/pause", {}, source="127.0.0.9")
    post(leader, "/api/resume", {"X-Queue-Client": "203.0.113.7 " + "0" * 64})
    post(follower, "/api/pause", {"X-Queue-Client": "203.0.113.7 " + "0" * 64})

    with leader.client() as client:
        entries = client.list_audit().entries
    assert [(entry.action, entry.address) for entry in entries] == [
        ("pause", "127.0.0.1"),
        ("resume", "127.0.0.1"),
        ("pause", "127.0.0.9"),
    ]


def test_each_server_wants_the_keys_that_are_stored(fleet: ServersOfQueue) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]
    with follower.client() as client:
        key = client.add_key({"name": "ops", "role": "admin"}).key
    headers = {"Authorization": f"Bearer {key}"}

    def status(server: ServerOfFleet, path: str, **headers: str) -> int:
        return httpx.get(f"{server.base_url}{path}", headers=headers, timeout=30).status_code

    fleet.until(lambda: status(follower, "/metrics") == 401)
    for server in (leader, follower):
        for path in ("/metrics", "/api/tasks", "/api/servers"):
            assert status(server, path) == 401
            assert status(server, path, **headers) == 200
        assert status(server, "/healthz") == status(server, "/readyz") == 200

    leader.kill()
    fleet.leader()
    for path in ("/metrics", "/api/tasks"):
        assert status(follower, path) == 401
        assert status(follower, path, **headers) == 200


def test_who_requires_keys_is_served_by_none_without_any(
    database: PostgresServer, model: FakeOllama, tmp_path: Path
) -> None:
    """Neither by the leader nor by one that follows, which answers reads by itself."""
    settings = "auth: {required: true}\n"
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, size=2, settings=settings) as fleet,
    ):
        for server in fleet.servers:
            for path in ("/api/tasks", "/api/status", "/metrics", "/v1/models"):
                answer = httpx.get(f"{server.base_url}{path}", timeout=PATIENCE_S)
                assert (answer.status_code, "no API key" in answer.text) == (503, True)
            assert httpx.get(f"{server.base_url}/healthz").status_code == 200


def test_a_page_of_another_site_is_refused_by_each_server(fleet: ServersOfQueue) -> None:
    for server in fleet.servers:
        answer = post(server, "/api/pause", {"Origin": "https://evil.example"})
        assert answer.status_code == 403


class ServerAtAddress(ServerOfFleet):
    """Is reached at an address that is not a loopback one, by all who are not a proxy."""

    def __init__(self, address: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.url = self.base_url = f"http://{address}:{self.port}"
        text = self.config.read_text().replace("{name: ", f"{{parallel: {2 * WORKERS}, name: ")
        self.config.write_text(
            f"{text}server: {{host: 0.0.0.0, max_per_address: {MOST}, base_path: /queue,"
            " trusted_proxies: [127.0.0.1]}\n"
        )

    @property
    def for_proxies(self) -> str:
        return f"127.0.0.1:{self.port}/queue"


@pytest.fixture
def proxied_fleet(
    database: PostgresServer, model: FakeOllama, tmp_path: Path
) -> Iterator[ServersOfQueue]:
    make = partial(ServerAtAddress, address_of_this_machine())
    with (
        database.queue() as conninfo,
        ServersOfQueue(
            tmp_path, model.url, conninfo, size=2, workers=WORKERS, make=make
        ) as servers,
    ):
        yield servers


def test_a_server_that_passes_on_for_many_is_not_one_client(proxied_fleet: ServersOfQueue) -> None:
    leader, (follower,) = proxied_fleet.leader(), proxied_fleet.followers()
    with Client(f"http://{leader.for_proxies}") as client:
        ops = client.add_key({"name": "ops", "role": "admin"}).key
    with Client(f"http://{leader.for_proxies}", api_key=ops) as client:  # the leader counts it
        counted = [
            client.add_key({"name": f"c{n}", "role": "reader", "rate": "1000/h"}).key
            for n in range(MOST + 1)
        ]
    with ExitStack() as stack:
        for key in counted:  # each of which may have as many open
            headers = {"Authorization": f"Bearer {key}"}
            events = httpx.stream(
                "GET", f"http://{follower.for_proxies}/api/events", headers=headers, timeout=20
            )
            assert stack.enter_context(events).status_code == 200
            url = f"ws://{follower.for_proxies}/ws"
            socket_of_client = websocket.create_connection(url, timeout=PATIENCE_S, header=headers)
            stack.callback(socket_of_client.close)
        place = leader.base_url.removeprefix("http://").rpartition(":")[0], leader.port
        for _ in range(MOST):
            stack.enter_context(socket.create_connection(place))

        assert httpx.get(f"{leader.base_url}/healthz").status_code == 429


def test_a_leader_that_reads_many_streams_is_not_one_client(
    proxied_fleet: ServersOfQueue, model: FakeOllama
) -> None:
    model.default = Stream(words=["a", "b"], then="hang")
    leader = proxied_fleet.leader()
    words = chat_task("m", [{"role": "user", "content": "x"}])
    with Client(f"http://{leader.for_proxies}") as client:
        ids = [client.submit_task(words) for _ in range(2 * WORKERS)]  # on both servers
        streams = [client.stream_task(task_id) for task_id in ids]
        firsts = [next(stream) for stream in streams]  # while all others are open

    assert [chunk.data["message"]["content"] for chunk in firsts] == 2 * WORKERS * ["a"]


def test_a_proxy_before_a_follower_speaks_for_its_clients(proxied_fleet: ServersOfQueue) -> None:
    (follower,) = proxied_fleet.followers()
    said = {"X-Forwarded-For": "203.0.113.9"}

    httpx.post(f"http://{follower.for_proxies}/api/pause", headers=said).raise_for_status()
    httpx.post(f"{follower.base_url}/api/resume", headers=said).raise_for_status()

    with follower.client() as client:
        entries = client.list_audit().entries[::-1]
    stranger = follower.base_url.removeprefix("http://").rpartition(":")[0]
    assert [(entry.action, entry.address) for entry in entries] == [
        ("pause", "203.0.113.9"),
        ("resume", stranger),
    ]


def test_what_servers_ask_each_other_is_answered_to_nobody_else(fleet: ServersOfQueue) -> None:
    forged = {"X-Queue-Client": "- " + "0" * 64}
    for server in fleet.servers:
        for path in ("/fleet/events", "/fleet/streams/a/1", "/fleet/leader-streams/a/1"):
            for headers in ({}, forged):
                answer = httpx.get(f"{server.base_url}{path}", headers=headers, timeout=30)
                assert (answer.status_code, answer.content) == (403, b""), path
        assert post(server, "/fleet/ask/" + "0" * 64, forged).status_code == 403
