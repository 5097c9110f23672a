"""A model server that answers inference calls with a test's bytes, at full speed."""

import contextlib
import socket

from tests.support.fakes.listener import Listener

_FACTS = {b"tags": b'{"models": [{"name": "m"}]}', b"models": b'{"data": [{"id": "m"}]}'}


def sized(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join((b"HTTP/1.1 200 OK", length, *headers, b"", body))


class Flood(Listener):
    """Listens on a free port, has the model `m`, and answers each POST with `answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = b""

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            coming = connection.makefile("rb")
            while request := coming.readline():
                length = 0
                while line := coming.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                coming.read(length)
                connection.sendall(self.answer if request[:4] == b"POST" else _fact(request))


def _fact(request: bytes) -> bytes:
    last = request.split()[1].rsplit(b"/", 1)[-1]
    return sized(_FACTS.get(last, b"{}"))
