"""A model server that streams at a steady pace, in the dialects of Ollama and OpenAI.

`python -m benchmarks.paced --port N`. A prompt contains `@pace=R/N@`: send N chunks, R per second,
each in one piece of its own, or as fast as they are taken if R is 0. The first is sent at once.
`GET /books` returns the number of chunks sent so far and of the streams that are running.
"""

import argparse
import heapq
import json
import re
import select
import socket
import time

PACE = re.compile(rb"@pace=(\d+)/(\d+)@")
FLAT_OUT = 64  # chunks sent before other connections get their turn
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
OLLAMA = (
    HEAD % b"application/x-ndjson",
    b'{"model":"stub","created_at":"2026-01-01T00:00:00.123456789Z",'
    b'"message":{"role":"assistant","content":" scattering"},"done":false}\n',
    b'{"model":"stub","created_at":"2026-01-01T00:00:00.123456789Z",'
    b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"total_duration":1000,"prompt_eval_count":60,"eval_count":3,"eval_duration":400}\n',
)
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,'
    b'"model":"stub","system_fingerprint":"fp","choices":[{"index":0,"delta":%s,'
    b'"finish_reason":%s}]}\n\n'
)
OPENAI = (
    HEAD % b"text/event-stream",
    _EVENT % (b'{"content":" scattering"}', b"null"),
    _EVENT % (b'{"content":""}', b'"stop"') + b"data: [DONE]\n\n",
)


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    """Serves requests one after the other on each connection."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.poll = select.epoll()
        self.poll.register(self.listener.fileno(), select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[float, int, Connection]] = []  # a heap
        self.chunks = self.streams = 0

    def run(self) -> None:
        while True:
            pause = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            for number, _ in self.poll.poll(pause):
                if number == self.listener.fileno():
                    self.accept()
                else:
                    self.connections[number].read()
            now = time.monotonic()
            late: list[Connection] = []
            while self.due and self.due[0][0] <= now:
                late.append(heapq.heappop(self.due)[2])
            for connection in late:
                connection.send_next()

    def accept(self) -> None:
        accepted, _ = self.listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections[accepted.fileno()] = Connection(self, accepted)
        self.poll.register(accepted.fileno(), select.EPOLLIN)

    def call_at(self, due: float, connection: "Connection") -> None:
        heapq.heappush(self.due, (due, connection.number, connection))


class Connection:
    """A keep-alive connection, with at most one stream at a time."""

    def __init__(self, server: Server, accepted: socket.socket) -> None:
        self.server, self.socket, self.number = server, accepted, accepted.fileno()
        self.held = b""
        self.left = 0  # chunks still to send

    def read(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.held += data
        head = self.held.find(b"\r\n\r\n") + 4
        if head == 3:
            return
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.held[:head])
        end = head + int(length[1] if length else 0)
        if len(self.held) >= end:
            request, self.held = self.held[:end], self.held[end:]
            self.answer(request)

    def close(self) -> None:
        if self.left:
            self.server.streams -= 1
        self.left = 0
        self.server.poll.unregister(self.number)
        del self.server.connections[self.number]
        self.socket.close()

    def answer(self, request: bytes) -> None:
        pace = PACE.search(request)
        if pace is None:
            self.send(_listing(request, self.server))
            return
        form = OPENAI if b"/completions HTTP" in request else OLLAMA
        head, self.chunk, self.last = form[0], framed(form[1]), framed(form[2]) + b"0\r\n\r\n"
        self.rate, self.left = int(pace[1]), int(pace[2])
        self.server.streams += 1
        self.due = time.monotonic()
        self.send(head)
        self.send_next()

    def send_next(self) -> None:
        for _ in range(1 if self.rate else FLAT_OUT):
            if not self.left:
                return  # it was closed
            self.left -= 1
            self.server.chunks += 1
            if not self.left:
                self.server.streams -= 1
                self.send(self.last)
                return
            self.send(self.chunk)
        self.due += 1 / self.rate if self.rate else 0
        self.server.call_at(self.due, self)

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            self.close()


def _listing(request: bytes, server: Server) -> bytes:
    known = {
        b"/api/tags": {"models": [{"name": "stub", "digest": "1"}]},
        b"/v1/models": {"data": [{"id": "other"}]},
        b"/api/version": {"version": "0.0.0"},
        b"/books": {"chunks": server.chunks, "streams": server.streams},
    }
    body = json.dumps(known.get(request.split(b" ", 2)[1], {})).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    Server(parser.parse_args().port).run()
