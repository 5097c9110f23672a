"""How many connections are held at once, and who goes when one more comes."""

import logging

import gevent
from gevent import Greenlet

from ollama_queue.http.sparing import Sparing

EXTRA = 32  # connections beyond the limit, on which only `/healthz` is answered

_warn = Sparing(logging.getLogger("ollama_queue"), logging.WARNING)


class ConnectionLimit:
    """Knows the greenlet of each connection, and which of them wait for a request.

    At the limit the one that has waited longest is closed for one that comes. If all are in use,
    the one that comes is an extra one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: set[Greenlet] = set()
        self._idle: dict[Greenlet, None] = {}  # the longest first
        self._leaving: set[Greenlet] = set()

    def enter(self) -> bool:
        """The current greenlet's connection has come. False for an extra one."""
        current = gevent.getcurrent()
        self._held.add(current)
        is_extra = False
        if len(self._held) - len(self._leaving) > self._most:
            is_extra = not self._close_the_oldest()
            words = "others get 503" if is_extra else "idle ones are closed"
            _warn(
                "all %d connections are in use, and %s: see the limit of open files (ulimit -n)",
                self._most,
                words,
            )
        self.idle()
        return not is_extra

    def idle(self) -> None:
        """The current greenlet waits for a request, until it is `busy`."""
        self._idle[gevent.getcurrent()] = None

    def busy(self) -> None:
        current = gevent.getcurrent()
        self._idle.pop(current, None)
        self._leaving.discard(current)

    def leave(self) -> None:
        self.busy()
        self._held.discard(gevent.getcurrent())

    def _close_the_oldest(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        self._leaving.add(oldest)
        gevent.get_hub().loop.run_callback(self._close, oldest)
        return True

    def _close(self, greenlet: Greenlet) -> None:
        if greenlet in self._leaving:  # no request has come meanwhile
            greenlet.throw(gevent.GreenletExit)
