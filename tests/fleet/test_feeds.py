"""Feeds and waits are served where they arrive; the leader has one reader for each server."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any

import httpx
import pytest
import websocket

from ollama_queue import Client, Status
from ollama_queue import generate_task as generate
from tests.support.fakes.behaviours import Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.fleet_house import SLOW
from tests.support.harness.tenants import OPS
from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue

PATIENCE_S = 30.0


class Feed:
    """A reader of `/api/events`: all its messages, in order."""

    def __init__(self, server: ServerOfFleet, query: str = "") -> None:
        self.messages: Queue[tuple[str, Any]] = Queue()
        self._server, self._query = server, query

    @contextmanager
    def open(self) -> Iterator["Feed"]:
        url = f"{self._server.base_url}/api/events{self._query}"
        with httpx.stream("GET", url, timeout=PATIENCE_S) as answer:
            assert answer.status_code == 200
            thread = threading.Thread(target=self._read, args=(answer,), daemon=True)
            thread.start()
            yield self

    def _read(self, answer: httpx.Response) -> None:
        kind = ""
        try:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.messages.put((kind, json.loads(line.removeprefix("data: "))))
        except (httpx.HTTPError, httpx.StreamError):
            self.messages.put(("end", None))

    def next(self, kind: str) -> Any:
        while (message := self.messages.get(timeout=PATIENCE_S))[0] != kind:
            assert message[0] != "end", f"no {kind} has come"
        return message[1]

    def end_of(self, task_id: str) -> Any:
        while True:
            event = self.next("event")
            if event["event"] == "task_completed" and event["task"]["id"] == task_id:
                return event


class Socket:
    """A WebSocket at a server, with all that has come, in order."""

    def __init__(self, server: ServerOfFleet, key: str | None = None) -> None:
        header = [f"Authorization: Bearer {key}"] if key else None
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/ws", timeout=PATIENCE_S, header=header
        )

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))
        self.next("subscribed")

    def next(self, kind: str) -> Any:
        while (message := json.loads(self._socket.recv()))["type"] != kind:
            pass
        return message

    def closed(self) -> tuple[int, str]:
        """The code and the reason with which it was closed."""
        while True:
            opcode, data = self._socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()


def sockets(server: ServerOfFleet, key: str = "") -> float:
    """How many WebSockets a leader serves."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    page = httpx.get(f"{server.base_url}/metrics", headers=headers).text
    found = re.search(r'^ollama_queue_connections{kind="websocket"} ([\d.]+)$', page, re.MULTILINE)
    assert found is not None, page
    return float(found[1])


def subscribers(server: ServerOfFleet) -> float:
    page = httpx.get(f"{server.base_url}/metrics").text
    found = re.search(r"^ollama_queue_event_subscribers ([\d.]+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_many_readers_of_a_server_are_one_of_the_leader_s(fleet: ServersOfQueue) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]
    before = subscribers(leader)
    with ExitStack() as stack:
        feeds = [stack.enter_context(Feed(follower).open()) for _ in range(12)]
        snapshots = [feed.next("snapshot") for feed in feeds]
        with leader.client() as client:
            task_id = client.submit_task(generate("m", "hi"))
        ends = [feed.end_of(task_id) for feed in feeds]
        with httpx.stream("GET", f"{leader.base_url}/api/events") as answer:
            own = next(line for line in answer.iter_lines() if line.startswith("data: "))

        assert subscribers(leader) <= before + 2  # one of them was our own
    assert {snapshot["stats"]["pending_tasks"] for snapshot in snapshots} == {0}
    assert all(event == ends[0] for event in ends)
    assert json.loads(own.removeprefix("data: "))["tasks"][0]["id"] == task_id


def test_a_feed_and_a_wait_go_on_with_the_next_leader(
    fleet: ServersOfQueue, model: FakeOllama
) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]
    fleet.ready(follower).pause()
    with follower.client() as client, Feed(follower).open() as feed:
        task_id = client.submit_task(generate("m", "hi"))
        assert feed.next("snapshot")["stats"]["paused"]
        results: Queue[Status] = Queue()
        waits = threading.Thread(
            target=lambda: results.put(client.wait(task_id, timeout=PATIENCE_S).status)
        )
        waits.start()

        leader.kill()
        fleet.until(lambda: fleet.leader() is not leader)
        fleet.ready(follower).resume()

        assert results.get(timeout=PATIENCE_S) is Status.COMPLETED
        waits.join()
    with Feed(follower).open() as again:
        assert again.next("snapshot")["tasks"][0]["id"] == task_id


def test_who_leaves_is_noticed_where_he_came_in(fleet: ServersOfQueue) -> None:
    follower = fleet.followers()[0]
    with follower.client() as client:
        waiting = generate("m", "hi", scheduled_at="2100-01-01T00:00:00Z")
        task_id = client.submit_task(waiting)
    for path in ("/api/events", f"/api/tasks/{task_id}?wait=600", f"/api/tasks/{task_id}/stream"):
        with socket.create_connection(("127.0.0.1", follower.port), PATIENCE_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)  # as a client that ends does
            due = time.monotonic() + PATIENCE_S  # a feed would go on for ever
            while connection.recv(65536):
                assert time.monotonic() < due


def test_a_wait_ends_with_its_task_and_not_before(fleet: ServersOfQueue, model: FakeOllama) -> None:
    follower = fleet.followers()[0]
    model.script(*(Stream(words=["a"]) for _ in range(20)))
    with follower.client() as client:
        ids = [client.submit_task(generate("m", "hi")) for _ in range(20)]
    answers = [
        httpx.get(f"{follower.base_url}/api/tasks/{task_id}?wait=20", timeout=PATIENCE_S).json()
        for task_id in ids
    ]

    assert {answer["status"] for answer in answers} == {"completed"}
    with follower.client() as client:
        client.pause()
        waiting = client.submit_task(generate("m", "hi"))
        answer = httpx.get(f"{follower.base_url}/api/tasks/{waiting}?wait=0.2", timeout=PATIENCE_S)
    assert (answer.json()["status"], answer.json()["waiting_for"]) == ("pending", "paused")


def test_a_web_socket_is_served_where_it_arrives(fleet: ServersOfQueue, model: FakeOllama) -> None:
    leader, follower = fleet.leader(), fleet.followers()[0]
    gate = threading.Event()
    model.script(Stream(words=["one", " two"], gate=gate))
    with Socket(follower) as socket:
        assert socket.next("snapshot")["tasks"] == []
        with leader.client() as client:
            task_id = client.submit_task(generate("m", "hi"))
        assert socket.next("event")["task"]["id"] == task_id
        socket.say(tasks=[task_id], chunks=True)
        gate.set()
        words = [socket.next("chunk")["data"]["response"] for _ in range(2)]
        end = socket.next("end")

        assert sockets(leader) == 0
    assert words == ["one", " two"]
    assert (end["task_id"], end["status"]) == (task_id, "completed")


def test_a_web_socket_goes_on_with_the_next_leader(
    fleet: ServersOfQueue, model: FakeOllama
) -> None:
    leader, (one, other) = fleet.leader(), fleet.followers()
    fleet.ready(one).pause()
    with one.client() as client, Socket(one) as socket, Socket(other) as beside:
        task_id = client.submit_task(generate("m", "hi"))
        for each in (socket, beside):
            each.next("snapshot")
            each.say(tasks=[task_id], chunks=True)

        leader.kill()
        fleet.until(lambda: fleet.leader() is not leader)

        for each in (socket, beside):
            assert [task["id"] for task in each.next("snapshot")["tasks"]] == [task_id]
        fleet.ready(one).resume()
        for each in (socket, beside):
            assert each.next("end")["status"] == "completed"


def test_who_reads_at_a_leader_that_is_replaced_reads_on_there(fleet: ServersOfQueue) -> None:
    old = fleet.leader()
    with fleet.ready(old) as client:
        client.pause()
        task_id = client.submit_task(generate("m", "hi"))
        ended: Queue[Status] = Queue()
        waits = threading.Thread(target=lambda: ended.put(client.wait(task_id).status))
        with Socket(old) as socket, Feed(old).open() as feed:
            assert socket.next("snapshot")["stats"]["paused"]
            feed.next("snapshot")
            waits.start()

            old.stop_running()
            fleet.until(lambda: fleet.leader() is not old)
            old.go_on()

            assert [task["id"] for task in socket.next("snapshot")["tasks"]] == [task_id]
            feed.next("snapshot")
            fleet.ready(fleet.leader()).resume()
            feed.end_of(task_id)
            while socket.next("event")["event"] != "task_completed":
                pass
        assert ended.get(timeout=PATIENCE_S) is Status.COMPLETED
        waits.join()


def test_a_web_socket_ends_with_its_key(locked: ServersOfQueue) -> None:
    follower = locked.followers()[0]
    with Client(follower.base_url, api_key=OPS) as ops:
        key = ops.add_key({"name": "new", "role": "reader"}).key

        def is_known() -> bool:
            with Socket(follower, key) as socket:
                socket.next("snapshot")
                return sockets(locked.leader(), OPS) == 0

        locked.until(is_known)
        with Socket(follower, key) as socket:
            assert socket.next("snapshot")["stats"]
            assert sockets(locked.leader(), OPS) == 0
            ops.revoke_key("new")

            assert socket.closed() == (1008, "the API key is no longer valid")


def test_a_web_socket_whose_key_the_leader_counts_is_the_leader_s(locked: ServersOfQueue) -> None:
    follower = locked.followers()[0]
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Socket(follower, SLOW)).next("snapshot")
        assert sockets(locked.leader(), OPS) == 3
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            Socket(follower, "oq_wrong")

        with Socket(follower, SLOW) as late:
            assert late.closed()[0] == 1008  # 3 an hour


def test_a_server_that_has_lost_its_database_serves_no_web_socket(linked: ServersOfQueue) -> None:
    """It does not hear which keys are revoked. The leader does, to which it passes the next on."""
    leader, follower = linked.leader(), linked.followers()[0]
    with Socket(follower) as socket:
        socket.next("snapshot")

        follower.to_database.cut()

        code, reason = socket.closed()
    assert (code, "another server leads" in reason) == (1013, True)
    with Socket(follower) as again:
        again.next("snapshot")
        assert sockets(leader) == 1
