"""WebSockets that only listen: `python -m benchmarks.programs.audience --port N --count N`.

Opens all at once, prints `{"opened_s": …}` when each has received its snapshot, and listens until
its input ends.
"""

import argparse
import json
import select
import socket
import sys
import time
from typing import Self

from benchmarks.processes import ChildProgram

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Audience(ChildProgram):
    """The process, seen from its parent. Entering waits for all snapshots unless `eager`."""

    def __init__(self, port: int, count: int, *, eager: bool = False) -> None:
        self._eager = eager
        argv = [sys.executable, "-m", "benchmarks.programs.audience", "--port", str(port)]
        super().__init__("the audience", *argv, "--count", str(count))

    def __enter__(self) -> Self:
        if not self._eager:
            self.opened_s()
        return self

    def opened_s(self) -> float:
        """Wait for the last snapshot; returns the time from the first connection to it."""
        return float(json.loads(self.line())["opened_s"])

    @property
    def has_opened(self) -> bool:
        assert self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], 0)[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    began = time.monotonic()
    for _ in range(given.count):
        made = socket.create_connection(("127.0.0.1", given.port), 60)
        made.sendall(HANDSHAKE)
        made.setblocking(False)
        sockets[made.fileno()] = made
        poll.register(made.fileno(), select.EPOLLIN)
    heads = dict.fromkeys(sockets, b"")  # of sockets without a snapshot yet
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            data = sockets[number].recv(1 << 18)
            if not data:
                raise ConnectionError("the server closed a WebSocket")
            if number in heads:
                heads[number] = (heads[number] + data)[:400]
                if b'"snapshot"' in heads[number]:
                    del heads[number]
                    if not heads:
                        opened = {"opened_s": time.monotonic() - began}
                        print(json.dumps(opened), flush=True)


if __name__ == "__main__":
    main()
