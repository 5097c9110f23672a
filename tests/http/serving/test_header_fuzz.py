"""Any bytes in any header, at every kind of route of a real server: an answer below 500 that says
what is wrong, no traceback, and no line in the log that somebody would be woken for."""

import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 10.0
NAMES = re.findall(
    r"\S+",
    """
    Host Origin Connection Upgrade Expect Content-Type Content-Length Transfer-Encoding Accept
    Accept-Encoding Content-Encoding Authorization Cookie Range TE Trailer Date User-Agent Referer
    If-None-Match If-Modified-Since Idempotency-Key Last-Event-ID X-Queue-Priority X-Queue-Tenant
    X-Queue-Detach X-Forwarded-For X-Forwarded-Host Forwarded Sec-Fetch-Site Sec-WebSocket-Key
    Sec-WebSocket-Version Sec-WebSocket-Protocol Sec-WebSocket-Extensions
    Access-Control-Request-Method Access-Control-Request-Headers _ X_Y !
    """,
)
VALUES = [
    *(b"", b" ", b"\t", b",", b";", b"=", b'"', b"\\", b"%", b"%00", b"%s", b"{}", b"[::1"),
    *(b"http://[", b"http://", b"://", b"null", b"*", b"\xff\xfe", b"\xc3\xa9", b"\xed\xa0\xbd"),
    *(b"a\r\n b", b"a\r\n\tb", b"a\rb", b"a\nb", b"a\0b", b"\x1b[31m", b"\x7f", b"\x85", b"-1"),
    *(b"9" * 400, b"x" * 8000, b"nan", b"true", b"\xef\xbb\xbf1", b"W/", b"bytes=0-", b"chunked"),
    *(b"localhost.", b"localhost:", b"localhost:99999999", b"[::1]:7125", b"[::1%25lo]", b"a@b"),
    *(b"::1]", b"1e9", b"a/b"),
]
ROUTES = [
    b"GET / HTTP/1.1",
    b"GET /healthz HTTP/1.1",
    b"GET /api/tasks?limit=1 HTTP/1.1",
    b"GET /api/tasks/none/stream HTTP/1.1",
    b"GET /static/app.js HTTP/1.1",
    b"GET /nowhere HTTP/1.1",
    b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
    b"OPTIONS /api/tasks HTTP/1.1\r\nAccess-Control-Request-Method: POST",
    b"POST /api/tasks HTTP/1.1",
    b"POST /api/chat HTTP/1.1",
    b"POST /v1/chat/completions HTTP/1.1",
    b"DELETE /api/tasks/none HTTP/1.1",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with FakeOllama() as model:
        made = QueueServer(tmp_path_factory.mktemp("headers"), model.url)
        with made.config.open("a") as config:
            config.write("logging: {level: debug}\nserver: {cors_origins: ['https://a.example']}\n")
        with made:
            yield made
        said = made.log_text()
        assert "Traceback" not in said
        assert not re.search(r"\b(ERROR|CRITICAL)\b", said)


def status(server: QueueServer, route: bytes, *fields: bytes) -> int:
    """Of the answer; 0 where the connection was closed without one, as to half a head."""
    has_host = any(field.lower().startswith(b"host:") for field in fields)
    lines = [route, *fields] if has_host else [route, b"Host: localhost", *fields]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        client.sendall(b"\r\n".join([*lines, b"", b""]))
        client.shutdown(socket.SHUT_WR)
        said = client.recv(65536)
    if not said:
        return 0
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", said)
    assert found, said
    return int(found[1])


def check(found: int) -> None:
    assert found < 500 or found == 501, found


@pytest.mark.parametrize("name", NAMES)
def test_hostile_values(server: QueueServer, name: str) -> None:
    for route in ROUTES:
        for value in VALUES:
            check(status(server, route, name.encode() + b": " + value))


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.sampled_from(ROUTES),
    st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=60)), min_size=1, max_size=4),
)
def test_any_bytes(server: QueueServer, route: bytes, fields: list[tuple[str, bytes]]) -> None:
    check(status(server, route, *(name.encode() + b":" + value for name, value in fields)))


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=200))
def test_any_first_bytes(server: QueueServer, sent: bytes) -> None:
    check(status(server, sent))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([b"Host: [::1"], 400),
        ([b"Host: a b"], 400),
        ([b"Host: evil.example"], 403),
        ([b"Host: localhost."], 404),
        ([b"Host: LOCALHOST.:7125"], 404),
        ([b"Host: [::1]:7125"], 404),
        ([b"Origin: http://["], 403),
        ([b"Origin: http://[::1"], 403),
        ([b"Origin: "], 403),
        ([b"Origin: \xff"], 403),
        ([b"Origin: http://localhost"], 404),
        ([b"Origin: gopher://localhost"], 403),
        ([b"Sec-Fetch-Site: cross-site"], 403),
        ([b"Sec-Fetch-Site: cross-site", b"Origin: https://a.example"], 404),
        ([b"Sec-Fetch-Site: same-origin"], 404),
    ],
)
def test_hosts_and_pages(server: QueueServer, fields: list[bytes], wanted: int) -> None:
    assert status(server, b"DELETE /api/tasks/none HTTP/1.1", *fields) == wanted
    if wanted == 403:
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        assert status(server, b"GET /ws HTTP/1.1\r\n" + upgrade, key, *fields) == 403


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/tasks", "/nowhere", "/static/app.js", "/ws"]
)
def test_no_answer_is_taken_for_what_it_is_not(server: QueueServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = client.recv(65536).partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"x-content-type-options: nosniff") == 1
