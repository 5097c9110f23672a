"""Measures from another process for how long a server did not answer."""

import subprocess
import sys
from typing import Self

_EAR = """
import select, socket, sys, time

port, pid = map(int, sys.argv[1:])
work = (~pid << 3) | 2  # Linux's clock of another process: the time that its processors worked
ear, longest = socket.create_connection(("127.0.0.1", port)), 0.0
print("ready", flush=True)
while True:
    if select.select([sys.stdin], [], [], 0.002)[0]:
        if not sys.stdin.readline():
            break
        print(longest, flush=True)
        longest = 0.0
    began = time.clock_gettime(work)
    ear.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    answer = b""
    while b'"ok"}' not in answer:
        answer += ear.recv(4096)
    longest = max(longest, time.clock_gettime(work) - began)
"""


class Ear:
    """Requests `/healthz` on one connection repeatedly.

    Measures the server's CPU time while a request waits for its answer, so that a busy machine
    makes no difference.
    """

    def __init__(self, port: int, pid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _EAR, str(port), str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._said() == "ready"

    def longest(self) -> float:
        """The longest CPU time during one request since the last call, in seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._said())

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")
