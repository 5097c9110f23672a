"""Clients that read a stream later than it comes: nothing is lost, doubled or out of order."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.support.fakes.flood import Flood
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 60.0
LINES = 12_000
PADDING = "x" * 500  # 6 MB in total: more than the sockets between take
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
# In pieces as they came, or the whole text in one where the client came after the first MB of it.
NUMBER = re.compile(b"(\\d+) " + PADDING.encode())


def chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(line), line)


def ollamas_reply() -> bytes:
    def line(text: str, **more: object) -> bytes:
        message = {"role": "assistant", "content": text}
        fields = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message}
        return chunk(json.dumps({**fields, **more}, separators=(",", ":")).encode() + b"\n")

    lines = [line(f"{number} {PADDING}", done=False) for number in range(LINES)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"".join((head, *lines, line("", done=True), b"0\r\n\r\n"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with (
        Flood() as model,
        QueueServer(tmp_path_factory.mktemp("slow"), model.url) as running,
    ):
        model.answer = ollamas_reply()
        yield running


def slow_reader(server: QueueServer, head: str, body: bytes) -> socket.socket:
    """A client that has sent a request and reads nothing, with little space for what comes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", server.port))
    fields = f"Host: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(f"{head} HTTP/1.1\r\n{fields}".encode() + body)
    return client


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def unframed(answer: bytes) -> bytes:
    """The body of a chunked answer, which must be complete."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    parts = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        if not length:
            return b"".join(parts)
        parts.append(rest[:length])
        rest = rest[length + 2 :]


@pytest.mark.parametrize("door", ["drop-in", "native"])
def test_a_client_that_reads_late_gets_everything_in_order(server: QueueServer, door: str) -> None:
    begun = b""
    with server.client() as queue:
        if door == "native":
            queue.pause()
            new = {"type": "chat", "model": "m", "payload": CHAT}
            task_id = queue.submit_task(new)
            client = slow_reader(server, f"GET /api/tasks/{task_id}/stream", b"")
            begun = client.recv(100)
            queue.resume()
        else:
            body = json.dumps({"model": "m", "stream": True, **CHAT}).encode()
            client = slow_reader(server, "POST /api/chat", body)
            while (task := next(iter(queue.list_tasks()), None)) is None:
                pass
            task_id = task.id
        assert queue.wait(task_id, timeout=PATIENCE_S).status == "completed"
    with client:
        answer = begun + read_all(client)

    numbers = [int(number) for number in NUMBER.findall(unframed(answer))]
    assert numbers == list(range(LINES))
