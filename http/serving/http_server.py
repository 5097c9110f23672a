"""The HTTP server: accepts connections, does TLS handshakes, and limits how many are open."""

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from ...actors.base.cooperation import YieldControl, never_yield
from ..forwarding.leader_door import LeaderDoor
from ..requests.proxies import Proxies
from .app import QueueApp
from .client_connection import PIECE, ClientConnection, Deadlines
from .connection_limit import EXTRA, AddressLimit, ConnectionLimit, RateLimitedLog
from .disconnects import DisconnectWatcher
from .handler import ConnectionHandler

TURN_AWAY_S = 1.0
_TOO_MANY = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
    b'{"error":{"code":"unavailable","message":"too many connections from your address"}}\n'
)
HANDSHAKE_S = 10.0  # for the TLS handshake
ACCEPTED_TOGETHER = 2  # per loop: hundreds of new connections must not delay all other work
EXPIRY_S = 1.0  # between two looks for expired keys

_say_no_tls = RateLimitedLog(logging.getLogger("ollama_queue"), logging.INFO)


class HttpServer:
    """Serves up to `most` connections at once, and a few extra that get 503."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        app: QueueApp,
        *,
        most: int = 10_000,
        yield_control: YieldControl = never_yield,
        most_per_address: int | None = None,
        proxies: Proxies | None = None,
        tls: ssl.SSLContext | None = None,
        door: LeaderDoor | None = None,
    ) -> None:
        self.app, self.yield_control, self._tls = app, yield_control, tls
        self.door = door
        self.disconnects = DisconnectWatcher(yield_control)
        self.limit = ConnectionLimit(most, self.disconnects.look)
        self.proxies = proxies or Proxies()
        self._turned_away = 0  # at the moment
        self._addresses = AddressLimit(most_per_address, self.proxies.trusts)
        self._deadlines = Deadlines(yield_control)
        pool = Pool(most + EXTRA)
        self.websockets = self.streams = 0  # being served
        app.count_connections = self._count
        if door is not None:
            app.has_lost_lead = door.has_lost_lead
        self._servers = [StreamServer(each, self._serve, spawn=pool) for each in listeners]
        for server in self._servers:
            server.max_accept = ACCEPTED_TOGETHER

    def start(self) -> None:
        for server in self._servers:
            server.start()
        watches = (self.disconnects.run, self._deadlines.run, self._end_expired)
        self._watching = [gevent.spawn(watch) for watch in watches]

    def refuse(self) -> None:
        """Accept no more connections, and end those open with the answers under way: what comes
        next finds another server, or none, instead of a refusal of this one."""
        for server in self._servers:
            server.close()
        self.limit.close_idle()

    def stop(self, timeout: float) -> None:
        """As `refuse`; what is under way has `timeout` seconds to end."""
        self.refuse()
        self._servers[0].stop(timeout)
        gevent.killall(self._watching, block=False)

    def _end_expired(self) -> None:
        while True:
            gevent.sleep(EXPIRY_S)
            self.app.access.end_expired()

    def _count(self) -> dict[str, int]:
        """How many connections are open, and of these idle, WebSockets and streams."""
        idle, count = self.limit.counts()
        kinds = {"websocket": self.websockets, "stream": self.streams, "idle": idle}
        return {"request": max(0, count - sum(kinds.values())), **kinds}

    def _serve(self, client: Any, address: Any) -> None:
        if not self._addresses.enter(address[0]):
            self._turn_away(client)
            return
        leave = _once(partial(self._addresses.leave, address[0]))
        try:
            self._serve_one(client, address, leave)
        finally:
            leave()

    def _turn_away(self, client: Any) -> None:
        """Close a connection of an address that has too many.

        Its request is read first, for a moment and for a few at a time: closing with unread bytes
        resets the connection, and the client would not get the answer.
        """
        if self._tls is None and self._turned_away < EXTRA:
            self._turned_away += 1
            with suppress(OSError):
                client.settimeout(TURN_AWAY_S)
                client.recv(PIECE)
                client.sendall(_TOO_MANY)
            self._turned_away -= 1
        client.close()

    def _serve_one(self, client: Any, address: Any, leave: Callable[[], None]) -> None:
        if self._tls is not None:
            client = self._secure(client, address)
        if client is not None:
            connection = ClientConnection(client, address, self._deadlines)
            connection.speak_for_many = leave
            ConnectionHandler(self, connection).run()

    def _secure(self, client: Any, address: Any) -> Any:
        """Do the TLS handshake; a failure is one log line, and None."""
        assert self._tls is not None
        self.limit.enter()
        try:
            client.settimeout(HANDSHAKE_S)
            return self._tls.wrap_socket(client, server_side=True)
        except OSError as error:  # includes SSLError and timeouts
            why = error.reason if isinstance(error, ssl.SSLError) else error
            _say_no_tls("TLS handshake with %s failed: %s", address[0], why or error)
            return None
        finally:
            self.limit.leave()


def _once(work: Callable[[], None]) -> Callable[[], None]:
    """Does `work` when first called, and nothing after that."""
    left = [work]
    return lambda: left.pop()() if left else None
