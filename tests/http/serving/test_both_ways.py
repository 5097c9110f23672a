"""The server's own loop and Bottle under another WSGI server answer alike."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.socket
import httpx
import pytest

from ollama_queue.http.serving.app import QueueApp, create_app
from ollama_queue.http.serving.guard import Guard
from ollama_queue.http.serving.http_server import HttpServer
from tests.support.harness.app import MAX_BODY, TASK, AppHarness

PATIENCE_S = 10.0
FRIEND = "https://app.example.com"
GUARD = Guard(loopback_only=True, origins=(FRIEND,))
CONNECTION = ("connection", "content-length", "date", "server", "transfer-encoding")

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/healthz", {}),
    ("GET", "/", {}),
    ("GET", "/", {"headers": {"Accept": "text/html"}}),
    ("GET", "/static/app.js", {}),
    ("GET", "/static/none.js", {}),
    ("HEAD", "/healthz", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/api/tasks", {}),
    ("GET", "/api/tasks?limit=none", {}),
    ("GET", "/api/tasks/", {}),
    ("GET", "/api/tasks/none", {}),
    ("GET", "/api/tasks/none%20", {}),
    ("GET", "/api/tasks/a%2Fb", {}),
    ("GET", "//api//tasks/none/", {}),
    ("GET", f"/api/tasks/{'x' * 300}", {}),
    ("DELETE", "/api/tasks/none", {}),
    ("POST", "/api/tasks/none/cancel", {}),
    ("PUT", "/api/tasks", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/ws", {}),
    ("POST", "/api/tasks", {"content": b"{"}),
    ("POST", "/api/tasks", {"content": b"x" * (MAX_BODY + 1)}),
    ("POST", "/api/tasks", {"json": {**TASK, "priority": 99}}),
    ("POST", "/api/tasks", {"json": TASK, "headers": {"Content-Encoding": "br"}}),
    ("POST", "/api/tasks", {"json": TASK, "headers": {"Origin": "https://evil.example.com"}}),
    ("GET", "/api/tasks", {"headers": {"Origin": FRIEND}}),
    ("GET", "/api/tasks/none", {"headers": {"Origin": FRIEND}}),
    ("GET", "/healthz", {"headers": {"Host": "evil.example.com"}}),
    (
        "OPTIONS",
        "/api/tasks",
        {"headers": {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}},
    ),
    ("OPTIONS", "/api/tasks", {}),
    ("POST", "/api/chat", {"json": {"model": "m", "messages": 3}}),
    ("POST", "/api/pull", {"json": {"model": "m"}}),
    ("POST", "/v1/chat/completions", {"json": {"messages": []}}),
    ("GET", "/v1/nowhere", {}),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueApp]:
    house = AppHarness(Path(tmp_path_factory.mktemp("both")))
    yield create_app(house.queue, max_body=MAX_BODY, guard=GUARD)
    house.close()


@pytest.fixture(scope="module")
def port(app: QueueApp) -> Iterator[int]:
    """Of a server on a thread of its own, which has a hub of its own."""
    ready: Future[tuple[int, Any]] = Future()
    over = threading.Event()

    def serve() -> None:
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        server = HttpServer([listener], app)
        server.start()
        wakes, ended = gevent.get_hub().loop.async_(), gevent.event.Event()
        wakes.start(ended.set)
        ready.set_result((listener.getsockname()[1], wakes))
        ended.wait()
        server.stop(timeout=0)
        over.set()

    threading.Thread(target=serve, daemon=True).start()
    number, wakes = ready.result(PATIENCE_S)
    yield number
    wakes.send()
    assert over.wait(PATIENCE_S)


@pytest.mark.parametrize(("method", "path", "more"), REQUESTS)
def test_answer_alike(
    app: QueueApp, port: int, method: str, path: str, more: dict[str, Any]
) -> None:
    host = {"Host": "localhost"}
    more = {**more, "headers": {**host, **more.get("headers", {})}}
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as served,
        httpx.Client(base_url="http://127.0.0.1", transport=httpx.WSGITransport(app=app)) as under,
    ):
        ours, bottles = (client.request(method, path, **more) for client in (served, under))

    assert (ours.status_code, ours.content) == (bottles.status_code, bottles.content)
    assert headers_of(ours) == headers_of(bottles)


def headers_of(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted(
        (name.lower(), "new each time" if name.lower() == "x-request-id" else value)
        for name, value in answer.headers.multi_items()
        if name.lower() not in CONNECTION
    )
