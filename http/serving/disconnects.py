"""Detects clients that disconnect while their request is being answered."""

import socket
import time
from contextlib import suppress
from typing import Any, Protocol

import gevent
from gevent.lock import BoundedSemaphore

from ...actors.base.cooperation import YieldControl

LOOK_S = 0.5  # between two checks of all connections with a request in progress
LEAST_S = 0.1  # minimum between two checks, however many are requested
TURN_S = 1e-6  # a timer: zero would not poll the network
_ESTABLISHED = 1  # TCP_ESTABLISHED in Linux: neither end has closed the connection


class Turns:
    """Lets one greenlet pass in each turn of the loop. When a thousand clients leave at once, their
    greenlets would otherwise all run before anyone else's next step."""

    def __init__(self) -> None:
        self._passing = BoundedSemaphore(1)

    def wait(self) -> None:
        with self._passing:
            gevent.sleep(TURN_S)


class WatchedRequest(Protocol):
    socket: Any

    def client_left(self) -> None: ...


class DisconnectWatcher:
    """Notifies each request in progress, once, that its client has closed the connection.

    Otherwise a waiting request would notice only at its next write. The check asks the kernel for
    the connection's state: unread bytes hide the end of the stream from a reader, and over TLS the
    end is itself a message. A client that closes only its sending half counts as disconnected.
    """

    def __init__(self, yield_control: YieldControl) -> None:
        self._yield_control = yield_control
        self._in_hand: set[WatchedRequest] = set()
        self._looked = time.monotonic()

    def __contains__(self, request: WatchedRequest) -> bool:
        return request in self._in_hand

    def watch(self, request: WatchedRequest) -> None:
        self._in_hand.add(request)

    def forget(self, request: WatchedRequest) -> None:
        self._in_hand.discard(request)

    def run(self) -> None:
        """Check periodically, forever."""
        while True:
            gevent.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Check now, or share one check with other callers once `LEAST_S` have passed."""
        requested_at = time.monotonic()
        gevent.sleep(max(0.0, self._looked + LEAST_S - requested_at))
        if self._looked > requested_at:
            return
        self._looked = time.monotonic()
        for request in tuple(self._in_hand):
            self._yield_control()
            if request in self._in_hand and not is_connected(request.socket):
                request.client_left()


def is_connected(connection: Any) -> bool:
    """Whether neither end has closed the connection."""
    with suppress(OSError):
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] == _ESTABLISHED
    return False
