"""A model server that answers at once, in Ollama's dialect, and records calls.

`python -m benchmarks.stub --port N`. A prompt may contain `@t=…@`: when its task was submitted, in
`time.monotonic_ns()`, which all processes of a machine share. `GET /books` returns the number of
calls, when the first and the last arrived, and how long each took from its `@t=` to arrival;
`POST /reset` clears them.
"""

import argparse
import asyncio
import json
import time

STAMP = b"@t="
LINES = (
    b'{"model":"stub","created_at":"2026-01-01T00:00:00Z",'
    b'"message":{"role":"assistant","content":"Rayleigh."},"done":false}\n'
    b'{"model":"stub","created_at":"2026-01-01T00:00:00Z",'
    b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"total_duration":1000,"eval_count":3,"eval_duration":400}\n'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(LINES), LINES)
)


class Books:
    """The calls since the last reset."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.calls = 0
        self.first_ns = self.last_ns = 0
        self.heard_after_ns: list[int] = []

    def note(self, request: bytes) -> None:
        now = time.monotonic_ns()
        self.calls += 1
        self.first_ns = self.first_ns or now
        self.last_ns = now
        at = request.find(STAMP)
        if at >= 0:
            digits = request[at + len(STAMP) : request.index(b"@", at + len(STAMP))]
            self.heard_after_ns.append(now - int(digits))


BOOKS = Books()


class Connection(asyncio.Protocol):
    """A keep-alive connection: requests in sequence, each with a Content-Length or no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := _end_of(self.held)) and end <= len(self.held):
            request, self.held = self.held[:end], self.held[end:]
            self.transport.write(_answer(request))


def _end_of(data: bytes) -> int:
    """Where the first request ends; 0 while its head is incomplete."""
    head = data.find(b"\r\n\r\n") + 4
    if head == 3:
        return 0
    at = data.lower().find(b"\r\ncontent-length:", 0, head)
    return head if at < 0 else head + int(data[at + 17 : data.index(b"\r", at + 17)])


def _answer(request: bytes) -> bytes:
    if request.startswith(b"POST /api/"):
        BOOKS.note(request)
        return ANSWER
    if request.startswith(b"POST /reset"):
        BOOKS.forget()
    body = json.dumps(vars(BOOKS)).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))
