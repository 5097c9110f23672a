"""Streams and WebSockets of a real server: over `kill -9`, with departures and bad frames."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import websocket

from ollama_queue import Status, generate_task
from tests.support.fakes.model_server import FakeOllama, Hang, Stream
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 10


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with QueueServer(tmp_path_factory.mktemp("feed"), model.url) as running:
        yield running


def connect(server: QueueServer, **options: Any) -> websocket.WebSocket:
    url = f"{server.base_url.replace('http', 'ws', 1)}/ws"
    return websocket.create_connection(url, timeout=PATIENCE_S, **options)


def heard(ws: websocket.WebSocket, kind: str) -> Any:
    """The next message of a kind."""
    while True:
        message = json.loads(ws.recv())
        if message["type"] == kind:
            return message


def close_code(ws: websocket.WebSocket) -> int:
    while True:
        opcode, data = ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])


def test_a_stream_goes_on_after_kill_nine(model: FakeOllama, tmp_path: Path) -> None:
    model.script(Stream(words=["x"], then="hang"), Stream(words=["a", "b"]))
    with QueueServer(tmp_path, model.url) as server, server.client() as client:
        channel_done = threading.Event()
        reader = client.submit_streaming_task(generate_task("m", "hi"), timeout=30)
        first = next(reader)
        client.submit_task_with_callback(generate_task("m", "2"), lambda _: channel_done.set())
        assert channel_done.wait(PATIENCE_S)
        server.kill()
        server.start()
        rest = list(reader)

    assert first.data["response"] == "x"
    assert rest[0].restart
    assert [chunk.data["response"] for chunk in rest if chunk.data] == [
        "Hello",
        " from",
        " here",
        "",
    ]
    assert rest[-1].status is Status.COMPLETED


def test_waits_for_many_go_on_after_kill_nine(model: FakeOllama, tmp_path: Path) -> None:
    with (
        QueueServer(tmp_path, model.url) as server,
        server.client() as client,
        ThreadPoolExecutor(2) as threads,
    ):
        client.pause()
        made = client.submit_batch([generate_task("m", "hi")] * 3)
        begun = threading.Event()
        batch = threads.submit(
            client.wait_batch, made, timeout=30, on_progress=lambda done, total: begun.set()
        )
        ends = threads.submit(list, client.as_completed(made.task_ids, timeout=30))
        assert begun.wait(PATIENCE_S)
        server.kill()
        server.start()
        client.resume()

        assert [result.task_id for result in batch.result()] == made.task_ids
        assert sorted(result.task_id for result in ends.result()) == made.task_ids


def test_a_websocket_says_how_things_stand_and_what_happens(server: QueueServer) -> None:
    ws = connect(server)
    snapshot = json.loads(ws.recv())
    with server.client() as client:
        task_id = client.submit_task(generate_task("m", "hi"))
    events = [heard(ws, "event") for _ in range(3)]

    assert set(snapshot) == {"type", "seq", "stats", "tasks"}
    assert [event["event"] for event in events] == [
        "task_submitted",
        "task_started",
        "task_completed",
    ]
    assert {event["task"]["id"] for event in events} == {task_id}
    assert heard(ws, "stats")["stats"]["total_tasks"] >= 1
    ws.send(json.dumps({"subscribe": ["task_completed"], "tasks": [task_id], "chunks": True}))
    assert heard(ws, "subscribed")["chunks"] is True
    pieces = [heard(ws, "chunk") for _ in range(4)]
    assert [piece["id"] for piece in pieces] == ["1.0", "1.1", "1.2", "1.3"]
    assert heard(ws, "end")["status"] == "completed"
    ws.close()


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ("nope", "message"),
        ("[1]", "message"),
        ('{"subscribe": 3}', "message"),
        ('{"colour": "red"}', "message"),
        ('{"subscribe": ["task_eaten"]}', "events"),
        ('{"chunks": true}', "chunks"),
    ],
)
def test_a_wrong_wish_is_answered_and_the_talk_goes_on(
    server: QueueServer, wish: str, field: str
) -> None:
    ws = connect(server)
    ws.send(wish)
    error = heard(ws, "error")["error"]
    ws.send('{"subscribe": []}')

    assert (error["code"], error["field"]) == ("invalid", field)
    assert heard(ws, "subscribed")["subscribe"] == []
    ws.close()


@pytest.mark.parametrize("origin", ["null", "https://evil.example"])
def test_pages_of_other_sites_are_refused(server: QueueServer, origin: str) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server, origin=origin)
    assert refused.value.status_code == 403


def test_our_own_page_is_welcome(server: QueueServer) -> None:
    ws = connect(server, origin=server.base_url)
    assert heard(ws, "snapshot")
    ws.close()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02hi", 1002),  # no mask
        (b"\xc1\x80abcd", 1002),  # a reserved bit
        (b"\x80\x80abcd", 1002),  # goes on with nothing
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),  # no UTF-8
        (b"\x81\xff" + struct.pack("!Q", (1 << 20) + 1) + b"abcd", 1009),
        (b"\x81\xff" + struct.pack("!Q", 1 << 60) + b"abcd", 1009),
        (b"\x88\x82\x00\x00\x00\x00" + struct.pack("!H", 1000), 1000),
    ],
)
def test_a_bad_frame_is_closed_with_its_code(server: QueueServer, frame: bytes, code: int) -> None:
    ws = connect(server)
    ws.sock.sendall(frame)

    assert close_code(ws) == code


def test_a_message_may_come_in_pieces_with_a_ping_between(server: QueueServer) -> None:
    ws = connect(server)
    text, abnf = b'{"subscribe": []}', websocket.ABNF
    ws.send_frame(abnf(0, 0, 0, 0, abnf.OPCODE_TEXT, 1, text[:5]))
    ws.ping("there?")
    ws.send_frame(abnf(1, 0, 0, 0, abnf.OPCODE_CONT, 1, text[5:]))
    opcodes = []
    while True:
        opcode, frame = ws.recv_data_frame(control_frame=True)
        opcodes.append(opcode)
        if opcode == abnf.OPCODE_TEXT and b'"subscribed"' in frame.data:
            break

    assert abnf.OPCODE_PONG in opcodes
    ws.close()


def test_pieces_together_may_not_be_too_much(server: QueueServer) -> None:
    ws = connect(server)
    abnf = websocket.ABNF
    ws.send_frame(abnf(0, 0, 0, 0, abnf.OPCODE_TEXT, 1, b" " * (1 << 20)))
    ws.send_frame(abnf(0, 0, 0, 0, abnf.OPCODE_CONT, 1, b"x"))

    assert close_code(ws) == 1009


def test_a_reader_that_leaves_is_noticed_before_the_next_comment(
    server: QueueServer, model: FakeOllama
) -> None:
    model.script(Hang())
    with server.client() as client:
        task_id = client.submit_task(generate_task("m", "hang"))
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as reader:
            reader.sendall(
                f"GET /api/tasks/{task_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            assert reader.recv(1000).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            reader.shutdown(socket.SHUT_WR)
            while reader.recv(1000):
                pass
            assert time.monotonic() - began < 4
        client.cancel_task(task_id)


def test_a_stopping_server_says_goodbye(model: FakeOllama, tmp_path: Path) -> None:
    with QueueServer(tmp_path, model.url) as server:
        ws = connect(server)
        heard(ws, "snapshot")
        closing = threading.Thread(target=server.stop)
        closing.start()
        assert close_code(ws) == 1001
        closing.join(PATIENCE_S)
