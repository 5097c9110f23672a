"""Finds out that another server does not answer any more, while requests wait for it.

A request may wait for minutes, as one for a stream that is silent. So what its connection does says
nothing of the server: each is asked for a sign of life, on a connection of its own.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Protocol

import httpx

from ...actors.base.receiver import MakeReceiver
from ...actors.base.thread_pool import begin
from ...actors.executors.transport import ConnectionTransport, Target

PULSE_S = 2.0
_PATH = "/healthz"


class WatchedCall(Protocol):
    """A request on its way to the server at `url`, since `since` of the steady clock."""

    @property
    def url(self) -> str: ...

    @property
    def since(self) -> float: ...

    def give_up(self, silence: str) -> None:
        """Abort it, from any thread."""


class Pulse:
    """Gives up the calls to a server that has not given a sign of life for `patience_s`."""

    def __init__(
        self,
        calls: Callable[[], Iterable[WatchedCall]],
        patience_s: float,
        make_receiver: MakeReceiver,
    ) -> None:
        """`calls` returns those under way."""
        self._calls, self._patience_s, self._make_receiver = calls, patience_s, make_receiver
        self._lock = threading.Lock()
        self._is_beating = False
        self._pause = threading.Event()  # never set

    def look(self) -> None:
        """Watch the calls, from now on until there is none; a call has just begun."""
        with self._lock:
            if self._is_beating:
                return
            self._is_beating = True
        begin(threading.Thread(target=self._beat, name="fleet-pulse", daemon=True))

    def _beat(self) -> None:
        asked: dict[str, ConnectionTransport] = {}
        try:
            while self._goes_on():
                self._pause.wait(PULSE_S)
                before = time.monotonic()
                waiting = [call for call in self._calls() if call.since < before - PULSE_S / 2]
                for url in {call.url for call in waiting}:
                    if not self._is_alive(asked, url):
                        for call in waiting:
                            if call.url == url:
                                call.give_up(f"no sign of life for {self._patience_s:g} s")
        except BaseException:
            self._is_beating = False
            raise
        finally:
            for transport in asked.values():
                transport.close()

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_beating = any(True for _ in self._calls())
            return self._is_beating

    def _is_alive(self, asked: dict[str, ConnectionTransport], url: str) -> bool:
        transport = asked.get(url)
        if transport is None:
            transport = asked[url] = ConnectionTransport(
                self._patience_s, self._patience_s, self._make_receiver
            )
        return is_alive(transport, url)


def is_alive(transport: ConnectionTransport, url: str) -> bool:
    """Whether the server at `url` gives a sign of life."""
    transport.begin()
    try:
        target = Target("GET", httpx.URL(url).join(_PATH), httpx.Headers({"Host": "queue"}))
        with closing(transport.send(target)) as response:
            for _ in response:
                pass
    except httpx.TransportError:
        return False
    return True
