"""A server that answers each request with a test's script, valid HTTP or not."""

import contextlib
import fcntl
import socket
import termios
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tests.support.fakes.listener import Listener

_CLOSED = 7  # TCP's state, as the first byte of TCP_INFO gives it


@dataclass(frozen=True)
class Turn:
    """How one request is answered.

    `answer` is sent after the request was read, or before it if `early`; then `pushed` follows
    unrequested. `body` is what the client must receive, or None if it may get an error.
    """

    answer: bytes
    body: bytes | None
    pushed: bytes = b""
    early: bool = False
    closes: bool = False


class Player(Listener):
    """Plays `turns[id]` for each `POST /id`, on any connection."""

    def __init__(self, turns: Mapping[int, Turn]) -> None:
        super().__init__()
        self._turns = turns
        self._changed = threading.Condition()
        self._busy = 0  # turns in progress

    def wait_until_played(self) -> None:
        """Wait until all turns in progress are sent and have arrived."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._busy == 0, 10):
                raise TimeoutError("a turn was not played to its end")

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            coming = connection.makefile("rb")
            while line := coming.readline():
                with self._turn():
                    if not self._play(self._turns[int(line.split()[1][1:])], connection, coming):
                        return

    def _play(self, turn: Turn, connection: socket.socket, coming: BinaryIO) -> bool:
        """Play a turn; whether the connection stays open."""
        length = 0
        while line := coming.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        if not turn.early:
            coming.read(length)
        connection.sendall(turn.answer)
        if turn.early:
            coming.read(length)
        connection.sendall(turn.pushed)
        if turn.closes:
            connection.shutdown(socket.SHUT_WR)
        if turn.pushed or turn.closes:
            _until_arrived(connection)
        return not turn.closes

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


def _until_arrived(connection: socket.socket) -> None:
    """Wait until the client's side has received all data and the end, or is closed."""
    while fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)) != bytes(4):
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == bytes([_CLOSED]):
            return
