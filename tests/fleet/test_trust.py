"""Keys and addresses: a server that follows is no way around either."""

from typing import Any

import httpx

from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue


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


def test_a_page_of_another_site_is_refused_by_each_server(fleet: ServersOfQueue) -> None:
    for server in fleet.servers:
        answer = post(server, "/api/pause", {"Origin": "https://evil.example"})
        assert answer.status_code == 403
