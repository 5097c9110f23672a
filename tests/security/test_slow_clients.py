"""Clients that dawdle, on raw sockets: none holds a connection for ever or keeps others waiting."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import gevent
import gevent.event
import gevent.socket
import pytest

from ollama_queue.http.requests import reading
from ollama_queue.http.requests.exchange import Content
from ollama_queue.http.serving import body_framing, handler
from ollama_queue.http.serving.app import QueueApp
from ollama_queue.http.serving.http_server import HttpServer

PATIENCE_S = 10.0
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
GET = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 5 << 20


def make_app() -> QueueApp:
    app = QueueApp()
    app.post("/echo", callback=lambda: reading.body(100))
    app.get("/large", callback=lambda: Content(b"x" * LARGE))
    return app


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server on a thread of its own, which has a hub of its own."""
    ready: Future[tuple[int, gevent.hub.Hub]] = Future()
    over = threading.Event()

    def serve() -> None:
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        server = HttpServer([listener], make_app())
        server.start()
        wakes = gevent.get_hub().loop.async_()
        ended = gevent.event.Event()
        wakes.start(ended.set)
        ready.set_result((listener.getsockname()[1], wakes))
        ended.wait()
        server.stop(timeout=0)
        over.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    number, wakes = ready.result(PATIENCE_S)
    yield number
    wakes.send()
    assert over.wait(PATIENCE_S)


def connect(port: int, *said: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    for each in said:
        made.sendall(each)
    return made


def heard(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answer(connection: socket.socket) -> bytes:
    """One short answer."""
    return connection.recv(65536)


def test_a_head_that_comes_slowly_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HEAD_S", 0.1)
    for begun in (b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-A: b\r\nX-"):
        with connect(port, begun) as slow:
            assert heard(slow).startswith(b"HTTP/1.1 408 ")


def test_a_head_in_pieces_is_one(port: int) -> None:
    with connect(port) as client:
        for piece in (POST[:3], POST[3:40], POST[40:], b"[1,", b"2]"):
            client.sendall(piece)
        assert answer(client).endswith(b"[1,2]")


def test_a_body_that_stalls_is_told_and_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_framing, "BODY_S", 0.1)
    with connect(port, POST, b"[1") as slow:
        said = heard(slow)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"the body did not arrive in time" in said


def test_a_chunked_body_that_is_none_is_told(port: int) -> None:
    head = POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
    with connect(port, head, b"nonsense\r\n") as client:
        assert b"the body is incomplete" in answer(client)


def test_an_idle_connection_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "IDLE_S", 0.1)
    with connect(port) as never, connect(port, POST, b"[1,2]") as once:
        assert heard(never) == b""
        assert heard(once).endswith(b"[1,2]")


def test_heads_have_a_limit(port: int) -> None:
    long = b"GET / HTTP/1.1\r\n" + b"X-Long: %b\r\n" % (b"x" * handler.MAX_HEAD)
    many = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 120 + b"\r\n"
    for head in (long, many):
        with connect(port, head) as client:
            assert answer(client).startswith(b"HTTP/1.1 431 ")
    fits = POST[:-2] + b"X-Long: %b\r\n\r\n" % (b"x" * 20_000)
    with connect(port, fits, b"[1,2]") as client:
        assert answer(client).endswith(b"[1,2]")


def test_a_large_answer_comes_whole_to_a_slow_reader(port: int) -> None:
    with connect(port, GET) as client:
        head = client.recv(100)
        taken = len(head)
        while not taken > LARGE:
            taken += len(client.recv(10_000))
    assert head.startswith(b"HTTP/1.1 200 ")


def test_two_hundred_slow_clients_keep_nobody_waiting(port: int) -> None:
    slow = [connect(port, POST[: 10 + number % 50]) for number in range(100)]
    slow += [connect(port, POST, b"[") for _ in range(100)]
    try:
        with connect(port) as client:
            for _ in range(20):
                client.sendall(POST + b"[1,2]")
                assert answer(client).endswith(b"[1,2]")
    finally:
        for each in slow:
            each.close()
