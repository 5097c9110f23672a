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

from ollama_queue import Status
from ollama_queue import generate_task as generate
from tests.support.fakes.behaviours import Stream
from tests.support.fakes.model_server import FakeOllama
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
            if event["task"]["id"] == task_id and event["event"] == "task_completed":
                return event


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
