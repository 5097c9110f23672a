"""Clients: the load generator, whose part of the machine is small, and a connection in Python."""

import json
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.harness import percentiles_ms
from benchmarks.processes import ChildProgram, compiled

PATIENCE_S = 60.0
WORDS = "Why is the sky blue, and why does it turn red in the evening? Answer in one sentence. "


def chat_body(words: str = WORDS * 3, model: str = "stub") -> bytes:
    """A task of about 330 bytes, in a form that both queue and model server accept."""
    asked = {"model": model, "messages": [{"role": "user", "content": words}]}
    return json.dumps(asked).encode()


def task_body(words: str = WORDS * 3, model: str = "stub") -> bytes:
    return b'{"type":"chat",' + chat_body(words, model)[1:]


def request(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """A request, with an API key if it is set."""
    access = f"Authorization: Bearer {key}\r\n" if key else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{access}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection:
    """A keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""
        self.sent_ns = 0

    def send(self, message: bytes) -> None:
        self.sent_ns = time.monotonic_ns()
        self.socket.sendall(message)

    def receive(self) -> bool:
        """Read available data; True if it completes an answer. Raises on an error status."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.held += data
        if not _is_whole(self.held):
            return False
        if not self.held.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"refused: {self.held[:300]!r}")
        self.held = b""
        return True

    def exchange(self, message: bytes) -> None:
        self.send(message)
        while not self.receive():
            pass

    def close(self) -> None:
        self.socket.close()


def _is_whole(answer: bytes) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = answer.find(b"Content-Length: ", 0, head)
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")  # chunked
    length = int(answer[at + 16 : answer.index(b"\r", at)])
    return len(answer) >= head + 4 + length


class Answers(NamedTuple):
    """When some requests began and their answers ended, and how long each took, in nanoseconds."""

    began: int
    ended: int
    latencies: Sequence[int]

    @property
    def figures(self) -> dict[str, float]:
        rate = len(self.latencies) * 1e9 / (self.ended - self.began)
        return {"a second": rate, **percentiles_ms(self.latencies)}


class Load(ChildProgram):
    """The load generator (`programs/load.c`), with its connections open."""

    def __init__(self, port: int, connections: int) -> None:
        argv = [compiled("load"), "--port", str(port), "--connections", str(connections)]
        super().__init__("the load generator", *argv)
        self.line()

    def send(self, message: bytes, count: int) -> Answers:
        """Send `count` requests, on each connection as soon as the previous one is answered."""
        self.tell(b"%d %d\n%s" % (count, len(message), message))
        return Answers(**json.loads(self.line()))


def closed_loop(port: int, message: bytes, connections: int, count: int) -> dict[str, float]:
    """The figures of `count` requests over `connections` new connections."""
    with Load(port, connections) as load:
        return load.send(message, count).figures
