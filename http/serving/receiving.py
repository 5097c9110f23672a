"""How the server's calls wait for model servers: with a watcher that each connection keeps.

gevent's `recv` tries to read first, then starts a waiter and a watcher, and reads again: for a
stream, which is waited for at each chunk, that costs twice as much.
"""

import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

from ...actors.base.receiver import PlainReceiver, Receiver

LOOK_S = 0.025  # between two looks at replies that nobody follows, at all at the same time
GATHER_S = 0.5  # so long a reply gathers before its call reads it, unless it ends
GATHERED = 16 << 10  # bytes; or until it has so many
TOGETHER = 16  # calls that read what has gathered, before the network is polled again
LOOKS = 256  # the same of looks, of a few microseconds each
_READ = 1  # of a watcher: the socket can be read


class Receivers:
    """Makes the receivers of a process; the hub looks at all that rest by one timer."""

    def __init__(self) -> None:
        self._hub: Any = gevent.get_hub()
        self._timer: Any = None  # of the next look
        self._resting: list[GreenletReceiver] = []  # until then
        self._looking: deque[GreenletReceiver] = deque()  # whose turn has come

    def __call__(self, connection: socket.socket) -> Receiver:
        if isinstance(connection, ssl.SSLSocket):  # may hold what a watcher does not see
            return PlainReceiver(connection)
        return GreenletReceiver(connection, self)

    def rest(self, receiver: "GreenletReceiver") -> None:
        """Look at it from time to time until it wakes up."""
        self._resting.append(receiver)
        if self._timer is None:
            self._timer = self._started(LOOK_S, self._look_at_all)

    def _look_at_all(self) -> None:
        self._looking.extend(self._resting)
        self._resting = []
        self._look_at_some()

    def _look_at_some(self) -> None:
        """Look at the first ones, and at the others after the network has been polled."""
        now, woken = self._hub.loop.now(), 0
        for _ in range(min(LOOKS, len(self._looking))):
            receiver = self._looking.popleft()
            if not receiver.is_resting:  # its call was ended from outside
                continue
            if receiver.gathers(now):
                self._resting.append(receiver)
                continue
            receiver.wake_up()
            woken += 1
            if woken == TOGETHER:
                break
        if self._looking:
            self._timer = self._started(0.0, self._look_at_some)
        elif self._resting:
            self._timer = self._started(LOOK_S, self._look_at_all)
        else:
            self._timer = None

    def _started(self, seconds: float, callback: Callable[[], None]) -> Any:
        """A timer; one that has run cannot be started again."""
        timer: Any = self._hub.loop.timer(seconds)
        timer.start(callback, update=True)
        return timer


class GreenletReceiver:
    """A `Receiver` for one greenlet at a time.

    While it rests, the hub reads for it: to switch to a greenlet, and through all that it calls,
    for each piece costs several times as much as the piece.
    """

    def __init__(self, connection: socket.socket, receivers: Receivers) -> None:
        self._hub: Any = gevent.get_hub()
        self._number = connection.fileno()
        self._watcher: Any = self._hub.loop.io(self._number, _READ)
        self._receivers = receivers
        self._has_more = False  # probably
        self._pieces: list[bytes] = []  # of what gathers
        self._size = 0
        self._held = b""  # what has gathered
        self._failure: OSError | None = None  # met while it gathered
        self.is_resting = False
        self._due = 0.0
        self._end = b""
        self._is_awaited: Callable[[], bool] = lambda: True
        self.wake_up: Callable[[], object] = lambda: None

    def receive(self, most: int) -> bytes:
        if self._held:
            data, self._held = self._held[:most], self._held[most:]
            return data
        if self._failure is not None:
            raise self._failure
        while True:
            if not self._has_more:
                self._watcher.start(gevent.getcurrent().switch)
                try:
                    self._hub.switch()
                finally:
                    self._watcher.stop()
            try:
                data = os.read(self._number, most)
            except BlockingIOError:
                self._has_more = False
                continue
            self._has_more = len(data) == most
            return data

    def rest(self, end: bytes, is_awaited: Callable[[], bool]) -> None:
        self._end, self._is_awaited = end, is_awaited
        self._due = self._hub.loop.now() + GATHER_S
        self.wake_up = gevent.getcurrent().switch
        self.is_resting = True
        self._receivers.rest(self)
        try:
            self._hub.switch()
        finally:
            self.is_resting = False  # the number may soon be that of another connection
        self._held = b"".join(self._pieces)
        self._pieces, self._size = [], 0

    def gathers(self, now: float) -> bool:
        """Read what has arrived, in the hub; whether to go on gathering."""
        try:
            data = os.read(self._number, GATHERED - self._size)
        except BlockingIOError:
            return now < self._due and not self._is_awaited()
        except OSError as error:
            self._failure = error
            return False
        if not data:
            self._has_more = True  # the end of the connection
            return False
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= GATHERED or now >= self._due or self._is_awaited():
            return False
        # Most often one read brings all of an end; a few bytes may be the rest of one.
        return len(data) >= len(self._end) and not data.endswith(self._end)

    def close(self) -> None:
        self._watcher.close()
