"""Limits open connections, and closes the longest idle one to make room for a new one.

Clients can trigger what is logged about that, so such lines are rate-limited.
"""

import logging
import time
from collections.abc import Callable

import gevent
from gevent import Greenlet

from ..requests.proxies import group_of, is_loopback_address

EXTRA = 32  # connections above the limit; they get answers from `/healthz` only
EVERY_S = 10.0  # between two log lines


class RateLimitedLog:
    """Logs at most one line every `every_s` seconds."""

    def __init__(
        self,
        log: logging.Logger,
        level: int,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._level, self._every_s, self._clock = log, level, every_s, clock
        self._due = clock()
        self._left_out = 0

    def __call__(self, message: str, *args: object) -> None:
        now = self._clock()
        if now < self._due:
            self._left_out += 1
            return
        more = f" ({self._left_out} similar lines suppressed)" if self._left_out else ""
        self._due, self._left_out = now + self._every_s, 0
        self._log.log(self._level, f"{message}%s", *args, more)


_warn = RateLimitedLog(logging.getLogger("ollama_queue"), logging.WARNING)


class ConnectionLimit:
    """Tracks the greenlet of each connection, and which of them are idle.

    At the limit, a new connection closes the one that has been idle longest. If none is idle, the
    new one counts as extra. `look` finds connections whose clients have disconnected.
    """

    def __init__(self, most: int, look: Callable[[], None]) -> None:
        self._most, self._look = most, look
        self._held: set[Greenlet] = set()
        self._idle: dict[Greenlet, None] = {}  # longest idle first
        self._leaving: set[Greenlet] = set()
        self.is_closing = False  # each connection ends with the answer under way

    def enter(self) -> bool:
        """Register the current greenlet's connection. False for an extra one."""
        self._held.add(gevent.getcurrent())
        if self._is_full() and not self._close_the_oldest():
            self._look()
        is_extra = self._is_full()
        if is_extra:
            message = "all %d connections are in use: others get 503; see ulimit -n (open files)"
            _warn(message, self._most)
        self.idle()
        return not is_extra

    def counts(self) -> tuple[int, int]:
        """How many connections are idle, and how many there are."""
        return len(self._idle), len(self._held)

    def _is_full(self) -> bool:
        return len(self._held) - len(self._leaving) > self._most

    def idle(self) -> None:
        """Mark the current greenlet as waiting for a request, until `busy`."""
        self._idle[gevent.getcurrent()] = None
        if self.is_closing:
            self._end(gevent.getcurrent())

    def busy(self) -> None:
        current = gevent.getcurrent()
        self._idle.pop(current, None)
        self._leaving.discard(current)

    def going(self, greenlet: Greenlet) -> None:
        """Mark the greenlet's connection as closing: its client has disconnected."""
        self._leaving.add(greenlet)

    def leave(self) -> None:
        self.busy()
        self._held.discard(gevent.getcurrent())

    def _close_the_oldest(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        message = (
            "all %d connections are open, and idle ones are closed; see ulimit -n (open files)"
        )
        _warn(message, self._most)
        self._end(oldest)
        return True

    def close_idle(self) -> None:
        """Close what is idle, and what becomes so."""
        self.is_closing = True
        for greenlet in tuple(self._idle):
            self._end(greenlet)

    def _end(self, greenlet: Greenlet) -> None:
        del self._idle[greenlet]
        self._leaving.add(greenlet)
        gevent.get_hub().loop.run_callback(self._close, greenlet)

    def _close(self, greenlet: Greenlet) -> None:
        if greenlet in self._leaving:  # no request arrived in the meantime
            greenlet.throw(gevent.GreenletExit)


class AddressLimit:
    """Limits the connections of one address: those of this machine and of trusted proxies, who
    speak for many, are not counted. `most` None: no limit."""

    def __init__(self, most: int | None, is_trusted: Callable[[str], bool]) -> None:
        self._most, self._is_trusted = most, is_trusted
        self._counts: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Count a connection; False if its address has too many, which does not count it."""
        if self._is_exempt(address):
            return True
        group = group_of(address)
        count = self._counts.get(group, 0)
        if self._most is not None and count >= self._most:
            _warn("%s has %d connections: no more (server.max_per_address)", group, count)
            return False
        self._counts[group] = count + 1
        return True

    def leave(self, address: str) -> None:
        if self._is_exempt(address):
            return
        group = group_of(address)
        left = self._counts[group] - 1
        if left:
            self._counts[group] = left
        else:
            del self._counts[group]

    def _is_exempt(self, address: str) -> bool:
        return self._most is None or is_loopback_address(address) or self._is_trusted(address)
