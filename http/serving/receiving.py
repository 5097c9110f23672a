"""How the server's calls wait for model servers: with a watcher that each connection keeps.

gevent's `recv` tries to read first, then starts a waiter and a watcher, and reads again: for a
stream, which is waited for at each chunk, that costs twice as much.
"""

import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

from ...actors.base.receiver import PlainReceiver, Receiver

REST_S = 0.025  # between two looks at replies that nobody follows, for all at the same time
TOGETHER = 32  # of these, before the network is polled again
_READ = 1  # of a watcher: the socket can be read


class Receivers:
    """Makes the receivers of a process: all that rest wake up together, by one timer."""

    def __init__(self) -> None:
        self._hub: Any = gevent.get_hub()
        self._timer: Any = None  # of the next wake-up
        self._resting: list[Any] = []  # until then
        self._waking: deque[Any] = deque()  # whose turn has come
        self._polled: Any = None  # the timer for those that are not woken yet

    def __call__(self, connection: socket.socket) -> Receiver:
        if isinstance(connection, ssl.SSLSocket):  # may hold what a watcher does not see
            return PlainReceiver(connection)
        return GreenletReceiver(connection, self)

    def rest(self) -> None:
        """Wait for the next common wake-up."""
        if not self._resting:
            self._timer = self._started(REST_S, self._wake_all)
        self._resting.append(gevent.getcurrent().switch)
        self._hub.switch()

    def _wake_all(self) -> None:
        self._waking.extend(self._resting)
        self._resting = []
        self._wake_some()

    def _wake_some(self) -> None:
        """Wake the first ones, and the others after the network has been polled."""
        for _ in range(min(TOGETHER, len(self._waking))):
            self._waking.popleft()()
        if self._waking:
            self._polled = self._started(0.0, self._wake_some)

    def _started(self, seconds: float, callback: Callable[[], None]) -> Any:
        """A timer; one that has run cannot be started again."""
        timer: Any = self._hub.loop.timer(seconds)
        timer.start(callback, update=True)
        return timer


class GreenletReceiver:
    """A `Receiver` for one greenlet at a time."""

    def __init__(self, connection: socket.socket, receivers: Receivers) -> None:
        self._hub: Any = gevent.get_hub()
        self._watcher: Any = self._hub.loop.io(connection.fileno(), _READ)
        self._read, self._receivers = connection.recv, receivers
        self._has_more = False  # probably

    def receive(self, most: int) -> bytes:
        if not self._has_more:
            self._watcher.start(gevent.getcurrent().switch)
            try:
                self._hub.switch()
            finally:
                self._watcher.stop()
        data = self._read(most)
        self._has_more = len(data) == most
        return data

    def rest(self) -> None:
        self._receivers.rest()
        self._has_more = True

    def close(self) -> None:
        self._watcher.close()
