"""A client's socket: what was received and not read yet, and a deadline for every wait."""

import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

import gevent
from gevent.socket import socket as GeventSocket

from ...actors.base.cooperation import YieldControl

LOOK_S = 0.5  # between two checks of all deadlines
PIECE = 64 << 10  # bytes received at once
SENT_TOGETHER = 1 << 20  # bytes of an answer for which the deadline is set anew
NEVER = inf


class ClientConnection:
    """Reads and writes the bytes of one connection.

    A deadline is an instant that `Deadlines` looks at, since a timer for each wait would cost more
    than all else. What runs late raises `TimeoutError`, and the connection must then be closed.
    """

    def __init__(self, client: Any, address: Any, deadlines: "Deadlines") -> None:
        client.settimeout(None)
        self.socket, self.address = client, address
        self.due, self._is_late, self._is_sending = NEVER, False, False
        self.held, self._at = b"", 0  # received; read up to this place
        self._deadlines = deadlines
        # Called when another server of the queue turns out to be the peer: it no longer counts
        # among the connections of its address.
        self.speak_for_many: Callable[[], None] = lambda: None
        deadlines.watched.add(self)

    def close(self) -> None:
        self._deadlines.watched.discard(self)
        with suppress(OSError):
            self.socket.close()

    def run_late(self) -> None:
        """End the wait that is due, from another greenlet."""
        self.due, self._is_late = NEVER, True
        with suppress(OSError):
            # Not an SSLSocket's own: it would drop the TLS state that the waiting greenlet uses.
            # Reading alone ends while nothing is being sent: the client may be told why.
            how = socket.SHUT_RDWR if self._is_sending else socket.SHUT_RD
            GeventSocket.shutdown(self.socket, how)

    # --- reading --------------------------------------------------------------------------------

    def take_held(self) -> bytes:
        """All that was received and not read."""
        held = self.held[self._at :] if self._at else self.held
        self.held, self._at = b"", 0
        return held

    def put_back(self, data: bytes) -> None:
        """Have `data` read next; nothing else is held."""
        self.held, self._at = data, 0

    def receive(self, due: float) -> bytes:
        """New bytes; empty at the end of the connection."""
        self.due = due
        try:
            data: bytes = self.socket.recv(PIECE)
        except OSError:
            if self._is_late:
                raise TimeoutError from None
            raise
        finally:
            self.due = NEVER
        if not data and self._is_late:
            raise TimeoutError
        return data

    def some(self, most: int, due: float) -> bytes:
        """Between one and `most` bytes; empty at the end of the connection."""
        if not self.held:
            data = self.receive(due)
            if len(data) <= most:
                return data
            self.held = data
        start = self._at
        end = self._at = start + most
        data = self.held[start:end]
        if end >= len(self.held):
            self.held, self._at = b"", 0
        return data

    def read(self, size: int, due: float = NEVER) -> bytes:
        """`size` bytes, fewer only at the end of the connection."""
        parts = []
        while size and (part := self.some(size, due)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def line(self, most: int, due: float) -> bytes:
        """A line with its line feed; without one if it is longer, or at the connection's end."""
        while (end := self.held.find(b"\n", self._at) + 1) == 0:
            if len(self.held) - self._at >= most or not (data := self.receive(due)):
                break
            self.put_back(self.take_held() + data)
        length = (end or len(self.held)) - self._at
        return self.some(min(length, most), due) if length else b""

    # --- writing --------------------------------------------------------------------------------

    def send(self, data: bytes, patience_s: float) -> None:
        """Send all of `data`; the client has `patience_s` for each MiB."""
        self._is_sending, self.due = True, monotonic() + patience_s
        try:
            if len(data) <= SENT_TOGETHER:
                sent = self.socket.send(data)
                if sent < len(data):
                    self._send_pieces(memoryview(data)[sent:])
                return
            whole = memoryview(data)
            for start in range(0, len(whole), SENT_TOGETHER):
                self.due = monotonic() + patience_s
                self._send_pieces(whole[start : start + SENT_TOGETHER])
        finally:
            self._is_sending, self.due = False, NEVER

    def send_now(self, data: bytes) -> bytes:
        """Send as much as the system takes without waiting; returns the rest. Not over TLS.

        It never fails: if the client has left, nothing is sent, and the next `send` raises.
        """
        try:
            return data[self.socket.send(data, 0, 0.0) :]
        except OSError:
            return data

    def _send_pieces(self, data: memoryview) -> None:
        while data:
            data = data[self.socket.send(data) :]


class Deadlines:
    """Ends waits that are due, at most `LOOK_S` late."""

    def __init__(self, yield_control: YieldControl) -> None:
        self.watched: set[ClientConnection] = set()
        self._yield_control = yield_control

    def run(self) -> None:
        """Check periodically, forever."""
        while True:
            gevent.sleep(LOOK_S)
            now = monotonic()
            for connection in tuple(self.watched):
                self._yield_control()
                if connection.due < now:
                    connection.run_late()
