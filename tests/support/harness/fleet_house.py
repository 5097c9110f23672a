"""The queue of several servers as one of them shows it, to clients with and without keys."""

from collections.abc import Iterator
from typing import Any

import httpx

from ollama_queue import Client, QueueManager
from ollama_queue.http.routes import EVENTS, SOCKET
from ollama_queue.http.serving.app import create_app
from tests.support.harness.tenants import ANN, BOB, OPS
from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue

SLOW = "oq_slow_slowslowslowslow"
WORDS = ["one", " two", " three"]  # of a reply that waits for the gate after the first
KEYS = "".join(
    f"    - {{name: {name}, key: {key}, role: {role}{more}}}\n"
    for name, key, role, more in (
        ("ann", ANN, "user", ""),
        ("bob", BOB, "user", ""),
        ("ops", OPS, "admin", ""),
        ("slow", SLOW, "reader", ", rate: 3/h"),
    )
)


class FleetHouse:
    """`queue` asks the leader, `client` makes clients of a server that follows."""

    def __init__(self, fleet: ServersOfQueue, admin_key: str | None = None) -> None:
        self.leader: ServerOfFleet = fleet.leader()
        self.follower: ServerOfFleet = fleet.followers()[0]
        self.queue = Client(self.leader.base_url, api_key=admin_key)

    def client(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.follower.base_url, headers=headers, timeout=30)


def routes_anywhere() -> Iterator[Any]:
    """The routes, as Bottle has them, that each server reads for, but for those without end."""
    for route in create_app(QueueManager()).routes:
        is_read = route.method == "GET" and route.config.get("anywhere")
        if is_read and route.rule not in (EVENTS.path, SOCKET.path):
            yield route
