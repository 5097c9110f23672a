"""Clients that leave while they wait, and more clients than there is room for."""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Client, generate_task
from tests.actors.executors.test_tls import certificate  # noqa: F401 (a fixture)
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.servers.queue_server import QueueServer
from tests.system.server.test_https import TlsServer

PATIENCE_S = 10.0
CLOSED_S = 4.0  # half a second is meant, and the next comment of a stream comes after five
OPEN_FILES = 256
BATCH = {"tasks": [{"type": "generate", "model": "m", "prompt": "hi"}]}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
WAITS = {
    "task": ("GET", "/api/tasks/{id}?wait=600", None),
    "batch": ("POST", "/api/tasks/batch?wait=600", BATCH),
    "stream": ("GET", "/api/tasks/{id}/stream", None),
    "events": ("GET", "/api/events", None),
    "chat": ("POST", "/api/chat", CHAT),
    "whole chat": ("POST", "/api/chat", {**CHAT, "stream": False}),
    "generate": ("POST", "/api/generate", {"model": "m", "prompt": "hi"}),
    "embed": ("POST", "/api/embed", {"model": "m", "input": "hi"}),
    "completion": ("POST", "/v1/chat/completions", CHAT),
    "streamed completion": ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    "embeddings": ("POST", "/v1/embeddings", {"model": "m", "input": "hi"}),
    "response": ("POST", "/v1/responses", {"model": "m", "input": "hi"}),
    "streamed response": ("POST", "/v1/responses", {"model": "m", "input": "hi", "stream": True}),
    "message": ("POST", "/v1/messages", {**CHAT, "max_tokens": 9}),
    "streamed message": ("POST", "/v1/messages", {**CHAT, "max_tokens": 9, "stream": True}),
}


class SmallServer(QueueServer):
    """May have no more than `OPEN_FILES` files open, sockets among them."""

    def command(self) -> list[str | Path]:
        limited = f'ulimit -n {OPEN_FILES} && exec "$@"'
        return ["sh", "-c", limited, "sh", *super().command()]


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture(scope="module")
def plain(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with SmallServer(tmp_path_factory.mktemp("plain"), model.url) as running:
        running.client().pause()
        yield running


@pytest.fixture(scope="module")
def secure(
    model: FakeOllama,
    certificate: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[QueueServer]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate))
        with TlsServer(tmp_path_factory.mktemp("tls"), model.url, certificate) as running:
            running.client().pause()
            yield running


@pytest.fixture(params=["plain", "secure"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def connect(server: QueueServer) -> Any:
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    if not isinstance(server, TlsServer):
        return raw
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw)


def asked(method: str, path: str, body: Any = None) -> bytes:
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n\r\n"
    return head.encode() + sent


def waiting_task(server: QueueServer) -> str:
    with server.client() as client:
        return client.submit_task(generate_task("m", "hi"))


def leave(connection: Any) -> None:
    """As a client that ends does; what the server does about it can still be seen."""
    if isinstance(connection, ssl.SSLSocket):
        connection._sslobj = None  # nothing of TLS is awaited from now on
    connection.shutdown(socket.SHUT_WR)


def is_closed_in_time(connection: Any) -> bool:
    connection.settimeout(CLOSED_S)
    with suppress(ConnectionResetError):  # it was, before the byte more was read
        while connection.recv(65536):
            pass
    return True


@pytest.mark.parametrize("more", [b"", b"G"], ids=["nothing more", "one byte more"])
@pytest.mark.parametrize("route", WAITS)
def test_who_leaves_is_noticed(server: QueueServer, route: str, more: bytes) -> None:
    method, path, body = WAITS[route]
    with closing(connect(server)) as connection, server.client() as client:
        before = client.get_queue_stats().total_tasks
        sent = asked(method, path.format(id=waiting_task(server)), body)
        connection.sendall(sent)
        wanted = before + 1 + (body is not None)
        while client.get_queue_stats().total_tasks < wanted:
            pass
        if more:
            connection.sendall(more)
        leave(connection)
        assert is_closed_in_time(connection)


def test_abandoned_waits_leave_room_for_others(plain: QueueServer) -> None:
    task_id = waiting_task(plain)
    for _ in range(4):  # more than there is room for, together
        with ExitStack() as clients:
            for _ in range(60):
                waiting = clients.enter_context(connect(plain))
                waiting.sendall(asked("GET", f"/api/tasks/{task_id}?wait=600") + b"G")
    with plain.client() as client:
        assert client.get_task(task_id).id == task_id


def test_beyond_the_limit_the_health_is_told_and_all_else_is_503(plain: QueueServer) -> None:
    task_id = waiting_task(plain)
    with ExitStack() as clients:
        for _ in range(200):  # who stay
            waiting = clients.enter_context(connect(plain))
            waiting.sendall(asked("GET", f"/api/tasks/{task_id}?wait=600"))
        for _ in range(3):
            assert httpx.get(f"{plain.base_url}/healthz").json() == {"status": "ok"}
            refused = httpx.get(f"{plain.base_url}/api/status")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "1"
            assert "too many connections" in refused.json()["error"]["message"]
    warned = re.findall(r".*connections are in use.*", plain.log_text())
    assert 1 <= len(warned) <= 3, warned
    assert "Traceback" not in plain.log_text()


def test_the_oldest_idle_connection_goes_first(plain: QueueServer) -> None:
    with ExitStack() as clients:
        idle = [clients.enter_context(connect(plain)) for _ in range(OPEN_FILES)]
        idle[-1].sendall(asked("GET", "/healthz"))
        assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200 ")
        assert is_closed_in_time(idle[0])
        assert httpx.get(f"{plain.base_url}/api/status").status_code == 200


def test_a_load_that_nobody_waits_for_is_given_up(plain: QueueServer, model: FakeOllama) -> None:
    model.script(Hang())
    with connect(plain) as connection:
        heard = len(model.calls)
        connection.sendall(asked("POST", "/api/generate", {"model": "m", "keep_alive": 60}))
        model.wait_for_calls(heard + 1)
        leave(connection)
        assert is_closed_in_time(connection)


def test_a_failed_handshake_is_one_line(secure: QueueServer) -> None:
    for sent in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01", b""):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=PATIENCE_S) as client:
            client.sendall(sent)
            with suppress(OSError):  # the server may have given it up already
                client.shutdown(socket.SHUT_WR)
            assert is_closed_in_time(client)
    with Client(secure.base_url) as client:
        client.get_queue_stats()
    said = secure.log_text()
    assert len(re.findall(r"INFO.*TLS handshake with 127\.0\.0\.1 failed: ", said)) == 1
    assert "Traceback" not in said
