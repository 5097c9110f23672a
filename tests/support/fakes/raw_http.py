"""A server that sends exactly a test's bytes, and calls to it."""

import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

import httpx

from ollama_queue.actors.executors.transport import ConnectionTransport, Response, Target
from tests.support.fakes.model_server import FakeOllama

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Script:
    """A listening socket whose connections are served in order, by one function each."""

    def __init__(self, *serve: Callable[[socket.socket], None], family: int = socket.AF_INET):
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._listener = socket.create_server((host, 0), family=family)
        port = self._listener.getsockname()[1]
        self.netloc = f"[::1]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
        self.url = f"http://{self.netloc}/"
        self.saw_eof = threading.Event()
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _run(self) -> None:
        for serve in self._serve:
            with contextlib.suppress(OSError):  # a client disconnected, or the test has ended
                connection, _ = self._listener.accept()
                with connection:
                    serve(connection)

    def until_eof(self, connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        self.saw_eof.set()


def answer(data: bytes) -> Callable[[socket.socket], None]:
    """Read one request, send `data`, close."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return serve


def post(transport: ConnectionTransport, url: str) -> bytes:
    response = send(transport, url)
    try:
        return b"".join(response)
    finally:
        response.close()


def send(transport: ConnectionTransport, url: str, body: bytes = b'{"model": "m"}') -> Response:
    where = httpx.URL(url)
    return transport.send(
        Target("POST", where, httpx.Headers({"Host": where.netloc.decode()})), body
    )


def in_thread(work: Callable[[], bytes]) -> Future[bytes]:
    future: Future[bytes] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def chat(fake: FakeOllama) -> str:
    return f"{fake.url}/api/chat"
