"""How a call waits for what its model server sends: the server's greenlets have a cheaper way."""

import socket
from collections.abc import Callable
from typing import Protocol


class Receiver(Protocol):
    """Waits for one connection. Used by one thread at a time."""

    def receive(self, most: int) -> bytes:
        """Wait for bytes and return at most so many; none at the end. Raises `OSError`."""

    def rest(self, end: bytes, is_awaited: Callable[[], bool]) -> None:
        """Let what arrives gather for up to half a second, where that makes reading cheaper.

        It goes on with some milliseconds of delay once what has arrived ends with `end` (if empty,
        once anything has arrived), or the connection has ended, or the next piece `is_awaited`.
        """

    def close(self) -> None:
        """Forget the connection, before it is closed."""


MakeReceiver = Callable[[socket.socket], Receiver]


class PlainReceiver:
    """A `Receiver` that reads the socket. It never rests: to wake a thread costs little."""

    def __init__(self, connection: socket.socket) -> None:
        self.receive = connection.recv

    def rest(self, end: bytes, is_awaited: Callable[[], bool]) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""
