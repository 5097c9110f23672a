"""A receiver of webhooks, which does with its connections as the test says."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

from msgspec import Struct

from tests.support.recorders import PATIENCE_S

Play = Callable[[socket.socket], None]


class Received(Struct):
    """A request: its headers, by their names in lower case, and its body."""

    headers: dict[str, str]
    body: bytes
    head: bytes

    @property
    def event(self) -> str:
        kind: str = json.loads(self.body)["type"]
        return kind

    @property
    def task(self) -> dict[str, Any]:
        task: dict[str, Any] = json.loads(self.body)["data"]["task"]
        return task


def answer(status: int) -> Play:
    """Answer with this status."""
    raw = f"HTTP/1.1 {status} As told\r\nContent-Length: 0\r\n\r\n".encode()
    return lambda connection: connection.sendall(raw)


class WebhookReceiver:
    """Takes one request a connection; then `play` has the connection, at first to accept it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.requests: list[Received] = []
        self.play: Play = answer(204)
        self._changed = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def wait_for(self, count: int, patience_s: float = PATIENCE_S) -> list[Received]:
        """The requests, once there are as many."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.requests) >= count, patience_s)
            assert came, f"{len(self.requests)} requests came, not {count}"
            return list(self.requests)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the caller may leave
            request = _read(connection)
            if request is None:
                return
            with self._changed:
                self.requests.append(request)
                play = self.play
                self._changed.notify_all()
            play(connection)


def _read(connection: socket.socket) -> Received | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += (piece := connection.recv(65536))
        if not piece:
            return None
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = {name.decode().lower(): value.decode() for name, value in lines}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return Received(headers, body, head)
