"""A server that follows answers like the one that leads, on every kind of route."""

import json
import threading
from contextlib import nullcontext, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

import httpx
import pytest
import websocket

from ollama_queue import Client, NotFound, QueueManager, Status, Unavailable, chat_task
from ollama_queue import generate_task as generate
from tests.support.fakes.behaviours import Hang, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.cli import run
from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue


@pytest.fixture
def follower(fleet: ServersOfQueue) -> ServerOfFleet:
    return fleet.followers()[0]


def test_a_task_is_submitted_read_and_streamed(
    fleet: ServersOfQueue, follower: ServerOfFleet, model: FakeOllama
) -> None:
    model.script(Stream(words=["one ", "two"]))
    with follower.client() as client:
        task_id = client.submit_task(chat_task("m", [{"role": "user", "content": "hi"}]))
        chunks = [chunk for chunk in client.stream_task(task_id) if not chunk.done]
        task = client.wait(task_id, timeout=20)

    assert [chunk.data["message"]["content"] for chunk in chunks][:2] == ["one ", "two"]
    with fleet.leader().client() as leader:
        assert leader.get_task(task_id) == task
    assert task.status is Status.COMPLETED


def test_an_error_is_passed_on_as_it_is(follower: ServerOfFleet) -> None:
    with follower.client() as client, pytest.raises(NotFound, match="there is no task"):
        client.get_task("0190a0b0-0000-7000-8000-000000000000")


def test_drop_in_apis_stream(follower: ServerOfFleet, model: FakeOllama) -> None:
    model.script(Stream(words=["a", "b"]), Stream(words=["a", "b"]))
    chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}

    lines = httpx.post(f"{follower.base_url}/api/chat", json=chat).text.splitlines()
    events = httpx.post(
        f"{follower.base_url}/v1/chat/completions", json={**chat, "stream": True}
    ).text

    assert [json.loads(line)["message"]["content"] for line in lines][:2] == ["a", "b"]
    assert events.rstrip().endswith("data: [DONE]")


def test_events_and_the_web_socket_arrive(follower: ServerOfFleet) -> None:
    socket = websocket.create_connection(f"ws://127.0.0.1:{follower.port}/ws", timeout=20)
    first = json.loads(socket.recv())
    with follower.client() as client:
        heard = client.subscribe(events={"task_submitted"})
        task_id = client.submit_task(generate("m", "hi"))
        assert next(iter(heard)).task.id == task_id
        heard.close()
    while (message := json.loads(socket.recv()))["type"] != "event":
        pass
    socket.close()

    assert first["type"] == "snapshot"
    assert message["task"]["id"] == task_id


def test_a_large_body_is_passed_on_piece_by_piece(follower: ServerOfFleet) -> None:
    tasks = [{"type": "generate", "model": "m", "payload": {"prompt": "x" * 1000}}] * 3000

    def lines() -> Any:
        for task in tasks:
            yield json.dumps(task).encode() + b"\n"

    answer = httpx.post(
        f"{follower.base_url}/api/tasks/batch",
        content=lines(),
        headers={"Content-Type": "application/x-ndjson"},
        timeout=60,
    )

    assert answer.status_code == 201
    assert len(answer.json()["task_ids"]) == 3000


def test_a_file_keeps_its_length(follower: ServerOfFleet) -> None:
    body = b'{"custom_id": "a"}\n' * 40_000
    made = httpx.post(
        f"{follower.base_url}/v1/files", files={"file": body}, data={"purpose": "batch"}, timeout=60
    )
    answer = httpx.get(f"{follower.base_url}/v1/files/{made.json()['id']}/content", timeout=60)

    assert made.status_code == 200, made.text
    assert answer.content == body


def test_a_client_that_leaves_ends_the_call(follower: ServerOfFleet, model: FakeOllama) -> None:
    model.script(Hang())
    connection = HTTPConnection("127.0.0.1", follower.port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})
    connection.request("POST", "/api/chat", body)
    model.wait_for_calls(1, timeout=20)

    connection.close()

    model.wait_for_disconnect(timeout=20)


def test_a_second_hop_is_refused(follower: ServerOfFleet) -> None:
    answer = httpx.get(f"{follower.base_url}/api/status", headers={"X-Queue-Hop": "1"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "does not lead" in answer.json()["error"]["message"]


def test_the_body_of_a_refused_hop_is_not_the_next_request(follower: ServerOfFleet) -> None:
    connection = HTTPConnection("127.0.0.1", follower.port, timeout=20)
    for _ in range(2):
        connection.request("POST", "/api/tasks", b"GET / HTTP/1.1\r\n\r\n", {"X-Queue-Hop": "1"})
        answer = connection.getresponse()
        assert (answer.status, b"does not lead" in answer.read()) == (503, True)
    connection.close()


def test_a_server_answers_of_itself(fleet: ServersOfQueue, follower: ServerOfFleet) -> None:
    leader = fleet.leader()

    def get(server: ServerOfFleet, path: str) -> httpx.Response:
        return httpx.get(f"{server.base_url}{path}")

    assert get(follower, "/healthz").status_code == 200
    assert get(follower, "/readyz").json()["role"] == "follower"
    assert get(leader, "/readyz").json()["role"] == "leader"
    assert "ollama_queue_leads 0.0" in get(follower, "/metrics").text
    assert "ollama_queue_leads 1.0" in get(leader, "/metrics").text
    assert get(follower, "/static/app.js").status_code == 200


def test_all_servers_are_listed(fleet: ServersOfQueue, follower: ServerOfFleet) -> None:
    with follower.client() as client:
        fleet.until(lambda: len(client.list_servers()) == 3)  # the leader has seen them all
        servers = client.list_servers()

    assert servers[0].url == fleet.leader().base_url
    assert [server.leads for server in servers] == [True, False, False]
    assert {server.url for server in servers} == {each.base_url for each in fleet.servers}
    assert all(server.same_settings and not server.silent for server in servers)

    fleet.followers()[1].stop_running()
    with follower.client() as client:
        fleet.until(lambda: [each.silent for each in client.list_servers()].count(True) == 1)
        roles = [
            line.split()[1]
            for line in run(lambda _: nullcontext(client), "servers").output.splitlines()
        ]
    assert sorted(roles) == ["ROLE", "follower", "leader", "silent"]


def test_a_program_takes_part(fleet: ServersOfQueue, model: FakeOllama) -> None:
    with QueueManager(storage=fleet.conninfo, ollama_host=model.url) as queue:
        with pytest.raises(Unavailable, match="another server leads this queue: ask http://127"):
            queue.submit(generate("m", "hi"))
        with fleet.followers()[0].client() as client:
            fleet.until(lambda: len(client.list_servers()) == 4)
        queue.close()
        with fleet.followers()[0].client() as client:
            fleet.until(lambda: len(client.list_servers()) == 3)


def test_a_server_that_stops_refuses_no_request(
    fleet: ServersOfQueue, follower: ServerOfFleet
) -> None:
    """What it does not answer any more, it does not take: the client tries another server."""
    statuses: list[int] = []
    has_begun = threading.Event()

    def use(kept_alive: bool) -> None:
        connection = HTTPConnection("127.0.0.1", follower.port, timeout=20)
        with suppress(OSError, HTTPException):
            while True:
                connection.request("POST", "/api/resume", b"")  # which the leader answers
                with connection.getresponse() as answer:
                    statuses.append(answer.status)
                    answer.read()
                has_begun.set()
                if not kept_alive:
                    connection.close()
        connection.close()

    threads = [threading.Thread(target=use, args=(n % 2 == 0,)) for n in range(6)]
    for thread in threads:
        thread.start()
    assert has_begun.wait(20)
    code = follower.terminate()
    for thread in threads:
        thread.join()

    assert code == 0
    assert set(statuses) == {200}
    assert len(fleet.followers()) == 2  # as it was: the lead did not move


def test_many_at_once(follower: ServerOfFleet) -> None:
    ids: list[str] = []

    def submit() -> None:
        with Client(follower.base_url) as client:
            ids.extend(client.submit_task(generate("m", "hi")) for _ in range(20))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with follower.client() as client:
        assert {client.wait(task_id, timeout=30).status for task_id in ids} == {Status.COMPLETED}
    assert len(set(ids)) == 160
