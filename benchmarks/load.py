"""The load generator: clients that send one prebuilt request repeatedly.

`closed_loop` starts them as processes (`python -m benchmarks.load`), which read their job as a line
of JSON and wait for a second line, so that all start together.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.harness import percentiles_ms

PER_PROCESS = 32  # connections; one core is left for the server
PATIENCE_S = 60.0
WORDS = "Why is the sky blue, and why does it turn red in the evening? Answer in one sentence. "


def chat_body(words: str = WORDS * 3, model: str = "stub") -> bytes:
    """A task of about 330 bytes, in a form that both queue and model server accept."""
    asked = {"model": model, "messages": [{"role": "user", "content": words}]}
    return json.dumps(asked).encode()


def task_body(words: str = WORDS * 3, model: str = "stub") -> bytes:
    return b'{"type":"chat",' + chat_body(words, model)[1:]


def request(method: str, path: str, body: bytes = b"") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
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


def closed_loop(port: int, message: bytes, connections: int, count: int) -> dict[str, float]:
    """Send `count` requests over `connections`, each as soon as the previous one is answered."""
    parts = -(-connections // PER_PROCESS)
    order = {"port": port, "message": message.decode()}
    clients: list[subprocess.Popen[str]] = []
    try:
        for part in range(parts):
            shares = {
                "connections": _share(connections, parts, part),
                "count": _share(count, parts, part),
            }
            clients.append(_client({**order, **shares}))
        for client in clients:
            _read(client)
        for client in clients:
            _write(client, "go")
        taken = [json.loads(_read(client)) for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.communicate()
    began, ended = min(each["began"] for each in taken), max(each["ended"] for each in taken)
    latencies = [latency for each in taken for latency in each["latencies"]]
    return {"a second": len(latencies) * 1e9 / (ended - began), **percentiles_ms(latencies)}


def _share(total: int, parts: int, part: int) -> int:
    return total // parts + (part < total % parts)


def _client(order: dict[str, Any]) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "benchmarks.load"]
    client = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    _write(client, json.dumps(order))
    return client


def _write(client: "subprocess.Popen[str]", line: str) -> None:
    assert client.stdin is not None
    client.stdin.write(line + "\n")
    client.stdin.flush()


def _read(client: "subprocess.Popen[str]") -> str:
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        raise RuntimeError("a client ended early; its words are above")
    return line


# --- a client process ---------------------------------------------------------------------------


def drive(connections: Iterable[Connection], message: bytes, count: int) -> list[int]:
    """The latencies, in ns, of `count` requests."""
    ready = select.epoll()
    by_number = {each.socket.fileno(): each for each in connections}
    sent = 0
    latencies: list[int] = []
    for number, connection in list(by_number.items())[:count]:
        ready.register(number, select.EPOLLIN)
        connection.send(message)
        sent += 1
    while len(latencies) < count:
        events = ready.poll(PATIENCE_S)
        if not events:
            raise TimeoutError(f"no answer within {PATIENCE_S:g} s")
        for number, _ in events:
            connection = by_number[number]
            if connection.receive():
                latencies.append(time.monotonic_ns() - connection.sent_ns)
                if sent < count:
                    connection.send(message)
                    sent += 1
    return latencies


def main() -> None:
    order = json.loads(sys.stdin.readline())
    connections = [Connection(order["port"]) for _ in range(order["connections"])]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic_ns()
    latencies = drive(connections, order["message"].encode(), order["count"])
    ended = time.monotonic_ns()
    print(json.dumps({"began": began, "ended": ended, "latencies": latencies}), flush=True)


if __name__ == "__main__":
    main()
