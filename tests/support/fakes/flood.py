"""A model server that answers inference calls with a test's bytes, at full speed."""

import contextlib
import socket
import threading
from typing import Self

_FACTS = {b"tags": b'{"models": [{"name": "m"}]}', b"models": b'{"data": [{"id": "m"}]}'}


def sized(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join((b"HTTP/1.1 200 OK", length, *headers, b"", body))


class Flood:
    """Listens on a free port, has the model `m`, and answers each POST with `answer`."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

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
