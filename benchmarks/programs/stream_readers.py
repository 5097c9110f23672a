"""Clients that read streams: `python -m benchmarks.programs.stream_readers`, a process of its own.

Reads its job as a line of JSON (`port`, `messages`, `count`, `over_s`), opens `count` streams over
`over_s` seconds, with one of the messages in turn, and prints a line when each has begun and a
second one, with the times of each stream, when all have ended.
"""

import json
import select
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

from benchmarks import load
from benchmarks.processes import ChildProgram

END = b"\r\n0\r\n\r\n"


class Times(NamedTuple):
    """When a stream was requested, began and ended, in ns, and its number of chunks."""

    sent: int
    began: int
    ended: int
    chunks: int


class Readers(ChildProgram):
    """The process, seen from its parent."""

    def __init__(
        self, port: int, message: bytes | Sequence[bytes], count: int, over_s: float
    ) -> None:
        messages = [message] if isinstance(message, bytes) else message
        texts = [each.decode() for each in messages]
        job = {"port": port, "messages": texts, "count": count, "over_s": over_s}
        argv = [sys.executable, "-m", "benchmarks.programs.stream_readers"]
        super().__init__("the process of readers", *argv)
        self.tell(json.dumps(job).encode() + b"\n")

    def await_begun(self) -> None:
        self.line()

    def times(self) -> list[Times]:
        """Wait for the end of all streams."""
        return [Times(*each) for each in json.loads(self.line())]


class Reader:
    """One stream."""

    def __init__(self, port: int) -> None:
        self.connection = load.Connection(port)
        self.began = self.ended = 0
        self.pieces: list[bytes] = []
        self.tail = b""

    def read(self) -> bool:
        """Take what has arrived. Returns whether that is the end."""
        data = self.connection.socket.recv(1 << 18)
        now = time.monotonic_ns()
        if not data:
            raise ConnectionError(f"cut short: {b''.join(self.pieces)[-200:]!r}")
        self.began = self.began or now
        self.pieces.append(data)
        self.tail = (self.tail + data)[-len(END) :]
        if self.tail == END:
            self.ended = now
        return self.ended > 0

    def times(self) -> Times:
        whole = b"".join(self.pieces)
        is_refused = b'"error":"' in whole or b'"error":{' in whole
        if not whole.startswith(b"HTTP/1.1 200") or is_refused:
            raise RuntimeError(f"refused: {whole[:300]!r}")
        return Times(self.connection.sent_ns, self.began, self.ended, whole.count(b'"content":'))


def run(readers: list[Reader], messages: Iterator[bytes], over_s: float) -> None:
    poll = select.epoll()
    by_number = {each.connection.socket.fileno(): each for each in readers}
    waiting = list(readers)
    silent, open_streams = len(readers), len(readers)
    began = time.monotonic()
    while open_streams:
        while waiting and _due(readers, waiting, began, over_s) <= time.monotonic():
            reader = waiting.pop(0)
            poll.register(reader.connection.socket.fileno(), select.EPOLLIN)
            reader.connection.send(next(messages))
        pause = load.PATIENCE_S
        if waiting:
            pause = max(0.0, _due(readers, waiting, began, over_s) - time.monotonic())
        events = poll.poll(pause)
        if not events and not waiting:
            raise TimeoutError(f"nothing came within {load.PATIENCE_S:g} s")
        for number, _ in events:
            reader = by_number[number]
            was_silent = not reader.began
            if reader.read():
                poll.unregister(number)
                open_streams -= 1
            if was_silent:
                silent -= 1
                if not silent:
                    print("true", flush=True)


def _due(readers: list[Reader], waiting: list[Reader], began: float, over_s: float) -> float:
    """When the next stream is to be requested."""
    return began + (len(readers) - len(waiting)) * over_s / len(readers)


def main() -> None:
    job = json.loads(sys.stdin.readline())
    readers = [Reader(job["port"]) for _ in range(job["count"])]
    run(readers, cycle([each.encode() for each in job["messages"]]), job["over_s"])
    print(json.dumps([reader.times() for reader in readers]), flush=True)


if __name__ == "__main__":
    main()
