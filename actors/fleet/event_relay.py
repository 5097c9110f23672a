"""Hears the leader's events over one connection, for all of this server that wait for some."""

import threading
import time
from collections.abc import Callable
from contextlib import closing

import httpx

from ..base.actor import Ref, tell
from ..base.receiver import MakeReceiver, PlainReceiver
from ..base.thread_pool import begin
from ..core.messages import CloseSubscriptions, Publish
from ..core.model.errors import Unavailable
from ..executors.transport import ConnectionTransport
from .event_frames import event_frames
from .server_request import SignedTarget, Where

EVENTS_PATH = "/fleet/events"
HEARTBEAT_S = 2.0
SILENCE_S = 10.0  # of the leader, which sends heartbeats
LINGER_S = 10.0  # the connection stays for so long after the last who listened
RETRY_S = 0.1


class EventRelay:
    """Publishes the leader's events in an EventBus of this server, while somebody listens.

    Whenever the connection begins, all subscriptions are closed as `restarted`: what happened in
    between is not known, and whoever subscribes again reads anew. When it ends, all but those of
    readers are. Safe in any thread.
    """

    def __init__(self, bus: Ref, where: Where, make_receiver: MakeReceiver = PlainReceiver) -> None:
        self._bus, self._where, self._make_receiver = bus, where, make_receiver
        self._changed = threading.Condition()
        self._listeners = 0
        self._left_at = 0.0  # when the last one left
        self._is_connected = self._is_running = self._is_closed = False
        self._knows_calls = False  # the leader says where calls are made
        self._heard: tuple[str | None, ConnectionTransport] | None = None

    def join(self, patience_s: float, *, calls: bool = False) -> Callable[[], None]:
        """Return once events arrive, with what says that they are needed no more. Raises
        `Unavailable` if the leader is not reached within so many seconds, or does not say where
        `calls` are made, as one of an older version."""
        with self._changed:
            self._listeners += 1
            if not (self._is_running or self._is_closed):
                self._is_running = True
                begin(threading.Thread(target=self._run, name="ollama-queue-events", daemon=True))
            self._changed.wait_for(lambda: self._is_connected or self._is_closed, patience_s)
            is_there = self._is_connected and (self._knows_calls or not calls)
        has_left = False

        def leave() -> None:
            nonlocal has_left
            with self._changed:
                if not has_left:
                    has_left = True
                    self._listeners -= 1
                    self._left_at = time.monotonic()

        if not is_there:
            leave()
            raise Unavailable("the events of the server that leads do not arrive", retry_after_s=1)
        return leave

    def look(self) -> None:
        """End the connection if another server leads now."""
        heard = self._heard
        if heard is not None and heard[0] != self._where()[0]:
            heard[1].abort()

    def close(self) -> None:
        """End for good."""
        with self._changed:
            self._is_closed, heard = True, self._heard
            self._changed.notify_all()
        if heard is not None:
            heard[1].abort()

    def _is_wanted(self) -> bool:
        with self._changed:
            lingers = time.monotonic() < self._left_at + LINGER_S
            self._is_running = not self._is_closed and (self._listeners > 0 or lingers)
            return self._is_running

    def _run(self) -> None:
        while self._is_wanted():
            transport = ConnectionTransport(SILENCE_S, make_receiver=self._make_receiver)
            try:
                self._hear(transport)
            except (httpx.HTTPError, ValueError):
                pass  # whoever waits for it is told by `join`
            finally:
                self._connected(False)
                self._heard = None
                transport.close()
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, RETRY_S)

    def _hear(self, transport: ConnectionTransport) -> None:
        url, seal = self._where()
        if url is None:
            return
        self._heard = url, transport
        transport.begin()
        with closing(transport.send(SignedTarget(url, seal, "GET", EVENTS_PATH))) as response:
            if response.status != 200:
                return
            for frame in event_frames(response):
                is_first = not self._is_connected
                if is_first:
                    tell(self._bus, CloseSubscriptions("restarted", frame.seq))
                    self._knows_calls = frame.calls is not None
                if frame.calls is not None:
                    tell(self._bus, frame.calls)
                if is_first:
                    self._connected(True)
                if frame.events:
                    tell(self._bus, Publish(frame.events))
                if not self._is_wanted() or self._where()[0] != url:
                    return

    def _connected(self, is_connected: bool) -> None:
        with self._changed:
            was, self._is_connected = self._is_connected, is_connected
            self._changed.notify_all()
        if was and not is_connected:  # the pieces of other servers still come
            tell(self._bus, CloseSubscriptions("restarted", but_readers=True, stays=True))
