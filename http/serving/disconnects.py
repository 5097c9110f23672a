"""How a server notices that a client has gone while its request is answered."""

import socket
import time
from contextlib import suppress
from typing import Any, Protocol

import gevent

from ...actors.base.cooperation import YieldControl

LOOK_S = 0.5  # between two looks at the connections of all requests in hand
LEAST_S = 0.1  # between two looks, however many want one
_ESTABLISHED = 1  # Linux's number of the state of a TCP connection that nobody has closed


class WatchedRequest(Protocol):
    socket: Any

    def client_left(self) -> None: ...


class DisconnectWatcher:
    """Tells each request in hand, once, that its client has closed the connection.

    Otherwise one that waits would notice at its next write only. The kernel is asked for the state
    of the connection: bytes that the client sent before it left hide the end from a reader, and
    over TLS the end is bytes itself. So a client that closes its half only counts as gone.
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
        """Look on for ever."""
        while True:
            gevent.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Look now, or with those who also want to know once `LEAST_S` are over."""
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
    """Neither end has closed the connection."""
    with suppress(OSError):
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] == _ESTABLISHED
    return False
