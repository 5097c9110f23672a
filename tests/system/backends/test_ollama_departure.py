"""A client of Ollama's API that goes away takes its task with it, unless it says otherwise."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from ollama_queue import Client, Status, generate_task
from tests.support.fakes.model_server import FakeOllama, Hang, Stream
from tests.support.servers.queue_server import QueueServer

HI = [{"role": "user", "content": "hi"}]
PATIENCE_S = 10.0


class DepartureServer:
    """A queue server of one worker, and its model server."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama()
        self.server = QueueServer(folder, self.fake.url, workers=1)
        self.server.start()
        self.queue: Client = self.server.client()
        self.events = self.queue.subscribe()

    def next(self, event: str) -> Any:
        """The next task of which this is told."""
        while (found := self.events.get(PATIENCE_S)).event != event:
            pass
        return found.task

    def post(self, body: dict[str, Any], **headers: str) -> "Caller":
        return Caller(f"{self.server.base_url}/api/chat", body, headers)

    def close(self) -> None:
        self.queue.close()
        self.server.stop()
        self.fake.refuse()


class Caller:
    """A client that waits for its answer, until it is told to go."""

    def __init__(self, url: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        self._http = httpx.Client(timeout=PATIENCE_S)
        self.sent = threading.Thread(target=self._post, args=(url, body, headers))
        self.sockets: list[Any] = []
        self.asked = threading.Event()
        self.sent.start()

    def _post(self, url: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        trace = {"trace": self._trace}
        with suppress(httpx.TransportError):  # it was told to go
            self._http.post(url, json={"model": "m", **body}, headers=headers, extensions=trace)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.sockets.append(info["return_value"].get_extra_info("socket"))
        elif event == "http11.receive_response_headers.started":
            self.asked.set()

    def go(self) -> None:
        assert self.asked.wait(PATIENCE_S)
        self.sockets[0].shutdown(2)
        self.sent.join(PATIENCE_S)
        self._http.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[DepartureServer]:
    made = DepartureServer(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_running_task_is_cancelled_and_the_model_stops(
    house: DepartureServer, stream: bool
) -> None:
    house.fake.script(Hang())
    caller = house.post({"messages": HI, "stream": stream})
    running = house.next("task_started")
    house.fake.wait_for_calls(1)

    caller.go()

    assert house.next("task_cancelled").id == running.id
    house.fake.wait_for_disconnect()


@pytest.mark.parametrize("stream", [False, True])
def test_a_waiting_task_is_cancelled(house: DepartureServer, stream: bool) -> None:
    house.queue.pause()
    caller = house.post({"messages": HI, "stream": stream})
    waiting = house.next("task_submitted")

    caller.go()

    assert house.next("task_cancelled").id == waiting.id
    assert house.fake.calls == []


def test_a_client_that_has_read_a_little_may_go(house: DepartureServer) -> None:
    house.fake.script(Stream(then="hang"))
    client = ollama.Client(house.server.base_url)
    parts = client.chat("m", HI, stream=True)
    assert next(parts).message.content == "Hello"

    parts.close()

    house.next("task_cancelled")
    house.fake.wait_for_disconnect()


def test_a_detached_task_goes_on(house: DepartureServer) -> None:
    gate = threading.Event()
    house.fake.script(Stream(gate=gate))
    key = {"X-Queue-Detach": "true", "Idempotency-Key": "once"}
    caller = house.post({"messages": HI}, **key)
    started = house.next("task_started")
    house.fake.wait_for_calls(1)

    caller.go()
    gate.set()

    assert house.queue.wait(started.id, timeout=PATIENCE_S).status is Status.COMPLETED
    body = {"model": "m", "messages": HI, "stream": False}
    again = httpx.post(f"{house.server.base_url}/api/chat", json=body, headers=key)
    assert again.json()["message"]["content"] == "Hello from here"
    assert len(house.fake.calls) == 1


def test_who_found_a_task_by_its_key_does_not_take_it_along(house: DepartureServer) -> None:
    gate = threading.Event()
    house.fake.script(Stream(gate=gate))
    callers = [house.post({"messages": HI, "stream": False}, **{"Idempotency-Key": "k"})]
    running = house.next("task_started")
    callers.append(house.post({"messages": HI, "stream": False}, **{"Idempotency-Key": "k"}))
    house.queue.get_task(running.id)

    callers[1].go()
    gate.set()

    assert house.queue.wait(running.id, timeout=PATIENCE_S).status is Status.COMPLETED
    callers[0].sent.join(PATIENCE_S)


KEY = {"Idempotency-Key": "k"}


def test_the_task_goes_with_the_last_who_waits_for_it(house: DepartureServer) -> None:
    house.fake.script(Hang())
    first = house.post({"messages": HI, "stream": False}, **KEY)
    running = house.next("task_started")
    second = house.post({"messages": HI, "stream": False}, **KEY)
    assert second.asked.wait(PATIENCE_S)

    first.go()  # it timed out, and its retry is there already
    native = house.queue.submit_task(generate_task("m", "hi"))
    assert house.queue.get_task(running.id).status is Status.RUNNING
    second.go()

    assert house.next("task_cancelled").id == running.id
    assert house.queue.get_task(running.id).error == "its client disconnected"
    assert house.queue.wait(native, timeout=PATIENCE_S).status is Status.COMPLETED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("starts", [False, True])
def test_who_asks_again_with_the_key_has_the_task_run_again(
    house: DepartureServer, stream: bool, starts: bool
) -> None:
    if starts:
        house.fake.script(Hang())
    else:
        house.queue.pause()
    caller = house.post({"messages": HI, "stream": stream}, **KEY)
    task = house.next("task_started" if starts else "task_submitted")
    if starts:
        house.fake.wait_for_calls(1)
    caller.go()
    assert house.next("task_cancelled").id == task.id
    house.queue.resume()

    body = {"model": "m", "messages": HI, "stream": stream}
    again = httpx.post(f"{house.server.base_url}/api/chat", json=body, headers=KEY)

    assert again.status_code == 200
    words = [line["message"]["content"] for line in map(json.loads, again.text.splitlines())]
    assert "".join(words) == "Hello from here"
    assert again.headers["X-Queue-Task-Id"] == task.id
    completed = house.queue.get_task(task.id)
    assert (completed.status, completed.error) == (Status.COMPLETED, None)


def test_one_who_leaves_again_takes_it_along_again(house: DepartureServer) -> None:
    house.queue.pause()
    for _ in range(2):
        caller = house.post({"messages": HI}, **KEY)
        house.next("task_submitted" if _ == 0 else "task_retrying")
        caller.go()
        house.next("task_cancelled")

    assert house.fake.calls == []


def test_a_task_that_someone_cancelled_stays_cancelled(house: DepartureServer) -> None:
    house.queue.pause()
    caller = house.post({"messages": HI}, **KEY)
    task = house.next("task_submitted")
    house.queue.cancel_task(task.id)
    caller.sent.join(PATIENCE_S)

    body = {"model": "m", "messages": HI}
    again = httpx.post(f"{house.server.base_url}/api/chat", json=body, headers=KEY)

    assert again.status_code == 499
    assert again.json()["error"] == f"task {task.id} was cancelled"


def test_a_native_task_does_not_end_with_its_readers(house: DepartureServer) -> None:
    house.queue.pause()
    fields = {"type": "chat", "model": "m", "messages": HI, "priority": 10}
    native = f"{house.server.base_url}/api/tasks"
    task_id = httpx.post(native, json=fields, headers=KEY).json()["task_id"]
    caller = house.post({"messages": HI, "stream": False}, **KEY)
    assert caller.asked.wait(PATIENCE_S)

    caller.go()
    house.queue.resume()

    assert house.queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    body = {"model": "m", "messages": HI, "stream": False}
    again = httpx.post(f"{house.server.base_url}/api/chat", json=body, headers=KEY)
    assert again.headers["X-Queue-Task-Id"] == task_id


def test_others_are_served_meanwhile(house: DepartureServer) -> None:
    house.fake.script(Hang())
    caller = house.post({"messages": HI})
    house.next("task_started")
    native = house.queue.submit_task(generate_task("m", "hi"))
    caller.go()

    assert house.queue.wait(native, timeout=PATIENCE_S).status is Status.COMPLETED


def test_a_server_that_stops_says_so_and_keeps_the_task(house: DepartureServer) -> None:
    house.queue.pause()
    said: list[ollama.ResponseError] = []

    def ask() -> None:
        try:
            ollama.Client(house.server.base_url).chat("m", HI)
        except ollama.ResponseError as error:
            said.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    task_id = house.next("task_submitted").id
    house.server.stop()
    asking.join(PATIENCE_S)

    assert (said[0].status_code, said[0].error) == (503, "the queue is shutting down")
    house.server.start()
    house.queue.resume()
    assert house.queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
