"""Streams are relayed from where they run: over one connection, whoever is killed meanwhile."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any

import httpx

from ollama_queue import generate_task
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.harness.fleet_house import WORDS
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue


class Reader:
    """One connection that reads the stream of a task, in a thread of its own."""

    def __init__(self, server: ServerOfFleet, task_id: str, after: str = "") -> None:
        self.task_id = task_id
        self._url = f"{server.base_url}/api/tasks/{task_id}/stream"
        self._headers = {"Last-Event-ID": after} if after else {}
        self.frames: Queue[tuple[str, str, Any]] = Queue()
        self.seen: list[tuple[str, str, Any]] = []

    @contextmanager
    def open(self) -> Iterator["Reader"]:
        with httpx.stream("GET", self._url, headers=self._headers, timeout=PATIENCE_S) as answer:
            assert answer.status_code == 200
            thread = threading.Thread(target=self._read, args=(answer,), daemon=True)
            thread.start()
            yield self

    def _read(self, answer: httpx.Response) -> None:
        kind = chunk_id = comment = ""
        try:
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif not name:
                    comment = value
                elif name == "id":
                    chunk_id = value
                elif name == "data":
                    self.frames.put((kind, chunk_id, json.loads(value)))
        except (httpx.HTTPError, httpx.StreamError):
            pass
        self.frames.put(("cut", "", comment))

    def next(self) -> tuple[str, str, Any]:
        frame = self.frames.get(timeout=PATIENCE_S)
        self.seen.append(frame)
        return frame

    def rest(self) -> list[str]:
        """What kinds of frames have come, once the last one has."""
        while self.next()[0] not in ("end", "cut"):
            pass
        return [kind for kind, _, _ in self.seen]

    @property
    def said(self) -> str:
        """The reply, without what was taken back."""
        words: list[str] = []
        for kind, _, data in self.seen:
            if kind == "chunk":
                words.append(data["response"])
            elif kind == "restart":
                words.clear()
        return "".join(words)


def running(three: ServersOfQueue, gated: FakeOllama) -> dict[str, str]:
    """A task that runs at each server, by the server's address."""
    leader = three.leader()
    with leader.client() as client:
        ids = [client.submit_task(generate_task("m", f"{n}")) for n in range(3)]
    gated.wait_for_calls(3, PATIENCE_S)
    with three.connection() as connection:
        rows = connection.execute(
            b"SELECT split_part(convert_from(c.key, 'utf8'), ':', 2), s.url"
            b" FROM calls c JOIN servers s"
            b" ON s.id::text = split_part(convert_from(c.key, 'utf8'), ':', 1)"
        ).fetchall()
    placed = dict(rows)
    assert len(placed) == 2
    return {placed.get(task_id, leader.base_url): task_id for task_id in ids}


def test_streams_go_on_over_their_connections_while_the_leader_is_replaced(
    three: ServersOfQueue, gated: FakeOllama, gate: threading.Event
) -> None:
    leader, (one, other) = three.leader(), three.followers()
    tasks = running(three, gated)
    readers = [
        Reader(server, tasks[caller.base_url])
        for server in (one, other)
        for caller in (leader, one, other)
    ]
    with all_open(readers):
        for reader in readers:
            assert reader.next()[0] == "chunk"

        leader.kill()
        gate.set()

        for reader in readers:
            kinds = reader.rest()
            assert ("restart" in kinds) == has_run_again(three, reader.task_id), reader.seen
            assert kinds[-1] == "end"
            assert reader.said == "one two three"
            assert reader.seen[-1][2]["status"] == "completed"
    assert has_run_again(three, tasks[leader.base_url])


def test_pieces_come_while_nobody_leads(
    three: ServersOfQueue, gated: FakeOllama, gate: threading.Event
) -> None:
    leader, (one, other) = three.leader(), three.followers()
    tasks = running(three, gated)
    readers = [Reader(server, tasks[one.base_url]) for server in (one, other)]
    with all_open(readers):
        for reader in readers:
            reader.next()

        leader.stop_running()
        try:
            gate.set()
            for reader in readers:
                pieces = [reader.next() for _ in range(2)]
                assert [kind for kind, _, _ in pieces] == ["chunk", "chunk"]
        finally:
            leader.go_on()
        for reader in readers:
            assert reader.rest()[-1] == "end"
            assert reader.said == "one two three"


def test_a_stream_read_at_a_third_server_begins_anew_with_its_call(
    three: ServersOfQueue, gated: FakeOllama, gate: threading.Event
) -> None:
    caller, third = three.followers()
    task_id = running(three, gated)[caller.base_url]
    with Reader(third, task_id).open() as reader:
        reader.next()

        caller.kill()
        gate.set()

        assert "restart" in reader.rest()
        assert reader.said == "one two three"
        assert reader.seen[-1][0] == "end"


def test_a_reader_whose_server_is_killed_goes_on_at_another_one(
    three: ServersOfQueue, gated: FakeOllama, gate: threading.Event
) -> None:
    leader, (caller, third) = three.leader(), three.followers()
    task_id = running(three, gated)[caller.base_url]
    with Reader(third, task_id).open() as reader:
        last = reader.next()[1]
        third.kill()
        assert reader.next()[0] == "cut"

    readers = [Reader(server, task_id, after=last) for server in (leader, caller)]
    with all_open(readers):
        gate.set()
        for again in readers:
            if "restart" in again.rest():
                assert has_run_again(three, task_id)
            else:
                assert again.said == " two three"


def has_run_again(three: ServersOfQueue, task_id: str) -> bool:
    """Whether its call was made anew, as its server was gone, or was taken for gone."""
    return three.versions()[task_id][-1].attempt > 1


@contextmanager
def all_open(readers: list[Reader]) -> Iterator[None]:
    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader.open())
        yield


def test_who_comes_after_the_end_has_all_pieces_in_their_places(
    three: ServersOfQueue, gated: FakeOllama, gate: threading.Event
) -> None:
    caller, third = three.followers()
    tasks = running(three, gated)
    first = Reader(third, tasks[caller.base_url])
    with first.open():
        first.next()
        gate.set()
        first.rest()

    for server in three.servers:
        for task_id in tasks.values():
            with Reader(server, task_id).open() as late:
                late.rest()
            assert late.seen == first.seen or task_id != tasks[caller.base_url]
            assert [kind for kind, _, _ in late.seen] == ["chunk"] * 4 + ["end"]
            assert late.said == "one two three"


def test_what_a_failed_task_has_said_is_the_same_everywhere(
    three: ServersOfQueue, gated: FakeOllama
) -> None:
    gated.script(Stream(words=["one", " two"], then="error"))
    with three.leader().client() as client:
        task_id = client.submit_task(generate_task("m", "hi", max_retries=0))
        client.wait(task_id, timeout=PATIENCE_S)

    readers = [Reader(server, task_id) for server in three.servers]
    for reader in readers:
        with reader.open():
            assert reader.rest() == ["chunk", "chunk", "end"]

    assert [reader.seen for reader in readers] == [readers[0].seen] * 3
    assert readers[0].seen[-1][2]["status"] == "failed"


def test_a_response_in_the_background_is_followed_at_each_server(
    three: ServersOfQueue, gate: threading.Event
) -> None:
    request = {"model": "m", "input": "hi", "background": True}
    answer = httpx.post(f"{three.leader().base_url}/v1/responses", json=request, timeout=30)
    path = f"/v1/responses/{answer.json()['id']}?stream=true"
    gate.set()

    def events(server: ServerOfFleet) -> list[Any]:
        text = httpx.get(f"{server.base_url}{path}", timeout=PATIENCE_S).text
        lines = (line for line in text.splitlines() if line.startswith("data: "))
        return [json.loads(line.removeprefix("data: ")) for line in lines]

    one, *others = map(events, three.servers)

    said = [event["delta"] for event in one if event["type"] == "response.output_text.delta"]
    assert said == WORDS
    assert one[-1]["type"] == "response.completed"
    assert others == [one, one]
