"""How a call waits for what its model server sends: the server's greenlets have a cheaper way."""

import socket
from collections.abc import Callable
from typing import Protocol


class Receiver(Protocol):
    """Waits for one connection. Used by one thread at a time."""

    def receive(self, most: int) -> bytes:
        """Wait for bytes and return at most so many; none at the end. Raises `OSError`."""

    def rest(self) -> None:
        """Let what arrives gather for some milliseconds, where that makes reading cheaper."""

    def close(self) -> None:
        """Forget the connection, before it is closed."""


MakeReceiver = Callable[[socket.socket], Receiver]


class PlainReceiver:
    """A `Receiver` that reads the socket. It never rests: to wake a thread costs little."""

    def __init__(self, connection: socket.socket) -> None:
        self.receive = connection.recv

    def rest(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""
