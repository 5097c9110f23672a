"""Where a request ends, on raw sockets: what two readers could take differently is refused, and
its connection closed, so that nobody's bytes are run as another request."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 10.0
NEXT = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"  # what must not be run
HOST = b"Host: localhost\r\n"
TASK = b'{"type":"generate","model":"m","prompt":"hi"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with FakeOllama() as model:
        made = QueueServer(tmp_path_factory.mktemp("framing"), model.url)
        with made.config.open("a") as config:
            config.write("logging: {level: debug}\nserver: {max_body: 100KB}\n")
        with made:
            yield made
        said = made.log_text()
        assert "Traceback" not in said
        assert not re.search(r"\b(ERROR|CRITICAL)\b", said)


def heard(server: QueueServer, sent: bytes) -> bytes:
    """All that is answered, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        with suppress(OSError):  # it was closed before all of it was sent
            client.sendall(sent)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", said)]


def post(fields: bytes, body: bytes = b"", path: bytes = b"/api/tasks") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b" % (path, fields, body)


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body)


def get(path: bytes = b"/api/version", fields: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path, fields)


LAST = get(b"/healthz", b"Connection: close\r\n")

BAD_HEADS = {
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}"),
    "two equal lengths": post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    "a list of lengths": post(b"Content-Length: 2, 2\r\n", b"{}"),
    "a length with a plus": post(b"Content-Length: +2\r\n", b"{}"),
    "a length with an underscore": post(b"Content-Length: 0_2\r\n", b"{}"),
    "a length below zero": post(b"Content-Length: -2\r\n", b"{}"),
    "a length in hexadecimal": post(b"Content-Length: 0x2\r\n", b"{}"),
    "a length in other digits": post("Content-Length: \u0662\r\n".encode(), b"{}"),
    "no length": post(b"Content-Length: \r\n", b"{}"),
    "a length beyond all numbers": post(b"Content-Length: " + b"9" * 5000 + b"\r\n", b"{}"),
    "a length and chunks": post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"),
    "chunks and a length": post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"),
    "a length under another name": post(b"Content_Length: 5\r\nContent-Length: 0\r\n"),
    "chunks under another name": post(b"Transfer_Encoding: chunked\r\n" + CHUNKED, b"0\r\n\r\n"),
    "two codings": post(CHUNKED + CHUNKED, b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "no coding": post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"),
    "a coding behind a tab of its own": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "a blank before the colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "a tab before the colon": post(b"Content-Length\t: 2\r\n", b"{}"),
    "a blank before the name": post(b"X-A: b\r\n Content-Length: 2\r\n", b"{}"),
    "a folded field": get(fields=b"X-A: b\r\n\tc\r\n"),
    "a folded first field": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "no colon": get(fields=b"X-A\r\n"),
    "no name": get(fields=b": b\r\n"),
    "a name in other letters": get(fields="Ünicode: b\r\n".encode()),
    "a zero byte": get(fields=b"X-A: b\0c\r\n"),
    "a bell": get(fields=b"X-A: b\x07c\r\n"),
    "a CR alone": get(fields=b"X-A: b\rContent-Length: 5\r\n"),
    "a CR alone in the first line": b"GET / HTTP/1.1\rX: y\r\nHost: localhost\r\n\r\n",
    "LF alone": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "LF alone in one field": get(fields=b"X-A: b\nX-C: d\r\n"),
    "CR CR LF": get(fields=b"X-A: b\r\r\n"),
    "no host": b"GET /api/version HTTP/1.1\r\n\r\n",
    "two hosts": get(fields=HOST),
    "a host that is none": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a host with a path": b"GET / HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
    "a host with a user": b"GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "a host of odd bytes": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "two hosts in one": b"GET / HTTP/1.1\r\nHost: localhost, evil\r\n\r\n",
    "a port that is none": b"GET / HTTP/1.1\r\nHost: localhost:+80\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab between": b"GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a blank at the end": b"GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n",
    "a blank at the start": b" GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "another protocol": b"GET / ICAP/1.1\r\nHost: localhost\r\n\r\n",
    "a version in small letters": b"GET / http/1.1\r\nHost: localhost\r\n\r\n",
    "a version with zeros": b"GET / HTTP/01.1\r\nHost: localhost\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a slash": b"GET api HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another scheme": b"GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target that names a user": b"GET http://a@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "the start of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "the start of HTTP/2's": b"PRI * HTTP/2\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_is_refused_and_nothing_behind_it_runs(server: QueueServer, name: str) -> None:
    said = heard(server, BAD_HEADS[name] + NEXT)

    assert statuses(said) == [400], said
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert json.loads(body)["error"]["code"] == "invalid"
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), 501),
        (post(b"Expect: the-unexpected\r\nContent-Length: 2\r\n", b"{}"), 417),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /%b HTTP/1.1\r\n" % (b"x" * 40_000), 431),
    ],
)
def test_what_is_not_spoken_here_is_named(server: QueueServer, sent: bytes, status: int) -> None:
    assert statuses(heard(server, sent + NEXT)) == [status]


BAD_BODIES = {
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "a size that is none": b"zz\r\n{}\r\n0\r\n\r\n",
    "a size below zero": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size with a plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "a blank before the size": b" 2\r\n{}\r\n0\r\n\r\n",
    "a blank behind the size": b"2 \r\n{}\r\n0\r\n\r\n",
    "a huge size": b"f" * 16 + b"\r\n{}\r\n0\r\n\r\n",
    "an endless size": b"0" * 10_000 + b"2\r\n{}\r\n0\r\n\r\n",
    "an extension that is none": b"2;=\r\n{}\r\n0\r\n\r\n",
    "an open quote": b'2;a="b\r\n{}\r\n0\r\n\r\n',
    "a CR in an extension": b"2;a=\rb\r\n{}\r\n0\r\n\r\n",
    "an LF in an extension": b"2;a\n{}\r\n0\r\n\r\n",
    "an endless extension": b"2;" + b"a" * 10_000 + b"\r\n{}\r\n0\r\n\r\n",
    "LF alone behind a size": b"2\n{}\r\n0\r\n\r\n",
    "no CR LF behind a chunk": b"2\r\n{}0\r\n\r\n",
    "LF alone behind a chunk": b"2\r\n{}\n0\r\n\r\n",
    "more than its size": b"2\r\n{}}\r\n0\r\n\r\n",
    "a trailer without a colon": b"2\r\n{}\r\n0\r\nX\r\n\r\n",
    "a folded trailer": b"2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n",
    "LF alone behind a trailer": b"2\r\n{}\r\n0\r\nX: a\n\r\n",
    "endless trailers": b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_chunk_is_refused_and_nothing_behind_it_runs(server: QueueServer, name: str) -> None:
    said = heard(server, chunked(BAD_BODIES[name]) + NEXT)

    assert statuses(said) == [400], said
    assert b"the body is incomplete" in said
    assert b"Connection: close" in said


def test_good_chunks_are_taken_with_extensions_and_trailers(server: QueueServer) -> None:
    parts = b'%x;a;b=c ; d="e;\\"f"\r\n%b\r\n' % (5, TASK[:5])
    parts += b"%X\r\n%b\r\n" % (len(TASK) - 5, TASK[5:])
    body = parts + b"000\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n"
    said = heard(server, chunked(body) + LAST)

    assert statuses(said) == [201, 200]


def test_requests_follow_each_other(server: QueueServer) -> None:
    length = b"Content-Length: %d\r\n" % len(TASK)
    said = heard(server, post(length, TASK) + b"\r\n" + get() + get() + LAST)

    assert statuses(said) == [201, 200, 200, 200]


@pytest.mark.parametrize(
    ("path", "status"), [(b"/nowhere", 404), (b"/api/version", 405), (b"/api/tasks", 413)]
)
@pytest.mark.parametrize("size", [100, 300_000, 4 << 20])
def test_a_body_that_nobody_reads_is_no_request(
    server: QueueServer, path: bytes, status: int, size: int
) -> None:
    """The rest of it is passed over, or the connection closed behind the answer."""
    body = (NEXT * (size // len(NEXT) + 1))[:size]
    if status == 413 and size < 100_000:
        status = 400  # it is read, and is no JSON
    for sent in (
        post(b"Content-Length: %d\r\n" % size, body, path),
        post(CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (size, body), path),
    ):
        seen = statuses(heard(server, sent + LAST))
        assert seen[0] == status
        assert seen[1:] in ([], [200])


def test_the_connection_goes_on_behind_a_small_body_that_nobody_read(server: QueueServer) -> None:
    said = heard(server, post(b"Content-Length: 2\r\n", b"{}", b"/no") + LAST)
    assert statuses(said) == [404, 200]


@pytest.mark.parametrize("wish", [b"100-continue", b"100-Continue"])
def test_who_asks_first_is_told_to_go_on(server: QueueServer, wish: bytes) -> None:
    head = post(b"Expect: %b\r\nContent-Length: %d\r\n" % (wish, len(TASK)))
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        client.sendall(head)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(TASK)
        assert client.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_who_asks_first_is_told_at_once_that_it_is_too_much(server: QueueServer) -> None:
    said = heard(server, post(b"Expect: 100-continue\r\nContent-Length: 200000\r\n"))

    assert statuses(said) == [413]
    assert b"Connection: close" in said


def test_an_upgrade_with_a_body_is_none(server: QueueServer) -> None:
    fields = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: %d\r\n" % len(NEXT)
    )
    said = heard(server, get(b"/ws", fields) + NEXT + LAST)
    assert statuses(said) == [426, 200]


@pytest.mark.parametrize("target", [b"http://localhost/healthz", b"HTTP://LOCALHOST:7125/healthz"])
def test_a_url_as_the_target_is_served(server: QueueServer, target: bytes) -> None:
    fields = b"Connection: close\r\n"
    assert statuses(heard(server, get(target, fields))) == [200]


def test_a_url_goes_before_the_host(server: QueueServer) -> None:
    said = heard(server, get(b"http://evil.example/healthz", b"Connection: close\r\n"))
    assert statuses(said) == [403]


def test_http_1_0_needs_no_host_and_closes(server: QueueServer) -> None:
    assert statuses(heard(server, b"GET /healthz HTTP/1.0\r\n\r\n" + NEXT)) == [200]
    kept = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert statuses(heard(server, kept + LAST)) == [200, 200]
