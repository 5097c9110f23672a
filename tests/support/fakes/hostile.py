"""A model server and a client that violate HTTP, byte by byte."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from socket import create_connection, socket
from typing import Any

from tests.support.fakes.listener import Listener

FACTS = {
    b"/api/version": b'{"version":"1"}',
    b"/api/tags": b'{"models":[{"name":"m","model":"m"}]}',
    b"/api/ps": b'{"models":[]}',
    b"/v1/models": b'{"data":[{"id":"m"}]}',
}
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class HostileModel(Listener):
    """Answers probes correctly, and calls with the bytes of `answer`, or as that function does."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: bytes | Callable[[socket], Any] = b""

    def _serve(self, connection: socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            reader = connection.makefile("rb")
            while line := reader.readline():
                length = 0
                while (field := reader.readline()) != b"\r\n":
                    name, _, value = field.lower().partition(b":")
                    length = int(value) if name == b"content-length" else length
                reader.read(length)
                method, path, _ = line.split(b" ")
                if method == b"GET":
                    fact = FACTS.get(path, b"{}")
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(fact)
                    connection.sendall(head + fact)
                elif callable(self.answer):
                    self.answer(connection)
                    return
                else:
                    connection.sendall(self.answer)


def chunked(pieces: Iterable[bytes]) -> bytes:
    """A complete chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Sequence[tuple[str, str]] = (),
) -> int:
    """Send a request and read the complete answer; its status, or 0 if none came.

    A body of several pieces is sent unchanged, as a chunked body that never ends.
    """
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    whole = body if isinstance(body, bytes) else None
    lines += ["Transfer-Encoding: chunked" if whole is None else f"Content-Length: {len(whole)}"]
    answer = b""
    with create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
        with contextlib.suppress(OSError):  # it may reject the request before reading everything
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            for piece in [body] if isinstance(body, bytes) else body:
                connection.sendall(piece)
            if whole is None:
                connection.shutdown(1)
        answer = connection.recv(1 << 16)
        while connection.recv(1 << 20):
            pass
    return int(answer.split(b" ", 2)[1]) if answer else 0


def web_socket(port: int) -> socket:
    """Open a WebSocket; the caller writes the frames."""
    connection = create_connection(("127.0.0.1", port))
    connection.sendall(UPGRADE)
    assert connection.recv(12) == b"HTTP/1.1 101"
    return connection
