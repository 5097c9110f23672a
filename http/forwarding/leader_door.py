"""The door of a server among several: what it does not lead, it passes on to the one that does."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, Protocol

import httpx

from ...actors.base.receiver import MakeReceiver, PlainReceiver
from ...actors.core.fleet.servers import Leader
from ...actors.core.model.errors import OutcomeUnknown, Unavailable
from ...actors.executors.transport import ConnectionTransport, Response, reason_of
from ...actors.fleet.signature import HEADER
from ...actors.fleet.warm_connections import WarmConnections
from .. import wire
from ..requests.exchange import Exchange
from .ask_door import LeadingQueue
from .fleet_door import FleetDoor, SharingServer
from .passed_request import HOP, NOT_LEADING, PassedRequest, RawTarget, kept
from .pulse import Pulse, is_alive
from .tunnel import Tunnel

log = logging.getLogger("ollama_queue")

BOOT_S = 5.0  # beyond the TTL: how long a request waits for a leader
AGAIN_S = 0.25  # until a leader that did not answer is tried again
SILENCE_S = wire.LONGEST_WAIT_S + 60.0  # of a leader that is about to answer
SIGN_S = 2.0  # for a sign of life of a leader that was not reached
LITTLE = 64 << 10  # bytes of an answer that is sent in one piece
PIECE = 64 << 10
_OPEN = frozenset({"/", "/healthz"})  # each server answers, whoever asks
_READY = "/readyz"
_HERE = frozenset({_READY, "/metrics"})  # each server answers, of itself
_STATIC = f"{wire.STATIC}/"
_ANSWERED = frozenset({"content-length", "date", NOT_LEADING.lower()})
_MAY_HAVE_BEEN_DONE = "the server that leads is gone; it may have been done"


class Fleet(SharingServer, Protocol):
    """What the servers of a queue know of each other."""

    is_closed: bool

    @property
    def may_read(self) -> bool: ...

    @property
    def is_starting(self) -> bool: ...

    @property
    def leader(self) -> Leader | None: ...

    def nobody_leads(self) -> Unavailable: ...

    def await_change(self, is_settled: Callable[[], bool], timeout: float) -> bool: ...

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]: ...


class Output(Protocol):
    """Where an answer goes. `closes`: the connection ends with it."""

    closes: bool

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None: ...

    def send_head(self, status: int, headers: Iterable[tuple[str, str]]) -> None: ...

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None: ...


class ClientSocket(Protocol):
    """The connection of a client that opens a WebSocket."""

    socket: Any

    def take_held(self) -> bytes: ...

    def speak_for_many(self) -> None: ...

    def send(self, data: bytes, patience_s: float) -> None: ...

    def close(self) -> None: ...


class NotReached(Exception):
    """The leader has not carried out the request: it may be sent again. The text is why, empty if
    it does not lead any more."""


class _Call:
    """A request on its way; `abort` ends it, from any thread."""

    def __init__(self, leader: Leader, url: str, abort: Callable[[], None]) -> None:
        self.leader, self.url, self.abort = leader, url, abort
        self.since = time.monotonic()
        self.silence = ""  # of the leader, that ended it

    def give_up(self, silence: str) -> None:
        self.silence = silence
        self.abort()


class LeaderDoor:
    """Finds out who answers a request, waits for a leader while there is none, and passes on.

    `begin_to_lead` is called before the first request that this server answers after it was
    elected, once for each lead, and may refuse with a `QueueError`.
    """

    def __init__(
        self,
        fleet: Fleet,
        ttl_s: float,
        begin_to_lead: Callable[[], None],
        queue: LeadingQueue,
        make_receiver: MakeReceiver = PlainReceiver,
    ) -> None:
        self._fleet, self._patience_s = fleet, ttl_s + BOOT_S
        self._begin_to_lead, self._make_receiver = begin_to_lead, make_receiver
        self._calls: set[_Call] = set()
        self._pulse = Pulse(lambda: tuple(self._calls), self._patience_s, make_receiver)
        self._unreached: Leader | None = None  # the log says so
        self._connections = WarmConnections(SILENCE_S, make_receiver)
        self._for_servers = FleetDoor(fleet, queue)
        fleet.watch(self._look)

    # --- as the leader --------------------------------------------------------------------------

    def has_lost_lead(self) -> bool:
        """Whether a request that this server began to answer as the leader finds it no longer so:
        one that was not carried out may be passed on to the next leader."""
        return not self._fleet.is_leading

    def _look(self) -> None:
        """End what another server must go on with: called after each change."""
        leader, is_leading = self._fleet.leader, self._fleet.is_leading
        for call in tuple(self._calls):
            if is_leading or (leader is not None and leader.server != call.leader.server):
                call.abort()

    def may_try(self, request: PassedRequest) -> bool:
        """Whether this server, though it does not lead, may answer if it finds all it needs: else
        the request must still be whole, to be passed on."""
        exchange = request.exchange
        return (
            exchange.method in ("GET", "POST")
            and request.is_small
            and HOP.lower() not in exchange.headers
            and self._fleet.may_read
        )

    # --- finding the leader ---------------------------------------------------------------------

    def answer(self, request: PassedRequest, output: Output, connection: ClientSocket) -> bool:
        """Have the leader answer. False if this server is to answer, with the same exchange.

        Raises `QueueError` if nobody can, `OSError` if the client has left.
        """
        exchange = request.exchange
        if self._for_servers.answer(exchange, request.target, output, connection.speak_for_many):
            return True
        path = wire.tidy(exchange.path)
        if path in _OPEN or path.startswith(_STATIC):
            return False
        if path in _HERE:
            if self._fleet.is_leading:
                self._begin_to_lead()
            elif path == _READY:
                self._check_reach()
            return False
        is_hop, due = HOP.lower() in exchange.headers, time.monotonic() + self._patience_s
        body: bytes | None = None
        has_tried, why = False, ""
        while True:
            if self._fleet.is_leading:
                self._begin_to_lead()
                self._recognize(request, connection)
            elif is_hop and not self._fleet.is_starting:
                self._refuse_hop(exchange)
            leader = self._fleet.leader
            is_last = self._fleet.is_closed and (leader is None or has_tried)
            if self._fleet.is_leading or is_last:
                request.rewind()
                return False
            if leader is not None and not is_hop:
                if leader.url is None:
                    raise Unavailable(
                        "the program that leads this queue cannot be reached by others: "
                        "it has no fleet.url",
                        retry_after_s=5,
                    )
                if body is None and request.is_small and not request.is_handshake:
                    body = request.body.read()
                try:
                    self._pass_on(leader, request, body, output, connection)
                    return True
                except NotReached as error:
                    has_tried, why = True, str(error)
            self._wait(leader, due, why)

    def _wait(self, tried: Leader | None, due: float, why: str) -> None:
        """Wait for another leader, or to try this one again, which was not reached for the reason
        `why`. Raises `Unavailable` at `due`."""
        left = due - time.monotonic()
        if left <= 0:
            if tried is None or not why:
                raise self._fleet.nobody_leads()
            self._tell(tried, why)
            raise Unavailable(
                f"this server does not reach the one that leads, at {tried.url}: {why}",
                retry_after_s=1,
            )
        fleet = self._fleet
        self._fleet.await_change(
            lambda: fleet.is_leading or fleet.is_closed or fleet.leader != tried,
            left if tried is None else min(AGAIN_S, left),
        )

    def _tell(self, leader: Leader, why: str) -> None:
        """Log once that requests cannot be passed on to this leader."""
        if leader != self._unreached:
            self._unreached = leader
            log.warning("no request reaches the server that leads, at %s: %s", leader.url, why)

    def _check_reach(self) -> None:
        """Raises `Unavailable` while requests cannot be passed on, though others may see the
        leader: a load balancer then sends them there."""
        leader = self._unreached
        if leader is None or leader != self._fleet.leader or leader.url is None:
            return
        with closing(ConnectionTransport(SIGN_S, SIGN_S, self._make_receiver)) as transport:
            if not is_alive(transport, leader.url):
                raise Unavailable("this server does not reach the one that leads", retry_after_s=1)
        self._unreached = None

    def _refuse_hop(self, exchange: Exchange) -> None:
        exchange.set_header(NOT_LEADING, "1")
        raise Unavailable(
            "this server does not lead, and another one has passed the request on already "
            f"({HOP}): if this lasts, the fleet.url of the leader is that of another server",
            retry_after_s=1,
        )

    def _recognize(self, request: PassedRequest, connection: ClientSocket) -> None:
        """Take the client's address from the server that has passed its request on."""
        exchange = request.exchange
        value = exchange.headers.get(HEADER.lower())
        if value is not None:
            address = self._fleet.seal.vouched(value, exchange.method, request.target)
            if address is not None:
                exchange.address = address
                connection.speak_for_many()

    # --- passing on -----------------------------------------------------------------------------

    def _pass_on(
        self,
        leader: Leader,
        request: PassedRequest,
        body: bytes | None,
        output: Output,
        connection: ClientSocket,
    ) -> None:
        """Have `leader` answer. Raises `NotReached`, `OutcomeUnknown`, `OSError`."""
        assert leader.url is not None, "checked before"
        target = RawTarget(request, leader.url, self._fleet.seal)
        if request.is_handshake:
            self._open_tunnel(leader, leader.url, target, connection)
            return
        transport = self._connections.borrow(leader.url)
        call = self._begin(leader, leader.url, transport.abort)
        has_left = False

        def leave() -> None:
            nonlocal has_left
            has_left = True
            call.abort()

        watch = request.exchange.on_disconnect
        forget = watch(leave) if watch is not None else lambda: None
        try:
            response = self._ask(transport, target, request, body)
            with closing(response):
                if NOT_LEADING.lower() in response.headers and body is not None:
                    raise NotReached
                self._answer_with(response, request, output)
        except (httpx.TransportError, NotReached, OutcomeUnknown) as error:
            if has_left or isinstance(error, httpx.TransportError):  # in the middle of an answer
                raise ConnectionError(str(error)) from None
            if isinstance(error, NotReached) and call.silence:
                raise NotReached(call.silence) from None
            raise
        finally:
            forget()
            self._calls.discard(call)
            self._connections.give_back(leader.url, transport)

    def _begin(self, leader: Leader, url: str, abort: Callable[[], None]) -> _Call:
        call = _Call(leader, url, abort)
        self._calls.add(call)
        self._pulse.look()
        return call

    def _ask(
        self,
        transport: ConnectionTransport,
        target: RawTarget,
        request: PassedRequest,
        body: bytes | None,
    ) -> Response:
        """Send the request, and read the head of its answer."""
        try:
            if body is not None:
                has_body = request.length is not None
                return transport.send(target, body if has_body else None, repeats=request.is_safe)
            upload = transport.upload(target)
            while not upload.is_refused and (piece := request.body.read(PIECE)):
                request.exchange.yield_control()
                if request.is_chunked:
                    upload.send_piece(piece)
                else:
                    upload.send(piece)
            return upload.end() if request.is_chunked else upload.answer()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotReached(str(error)) from None
        except httpx.TransportError as error:
            if request.is_safe and body is not None:
                raise NotReached(str(error)) from None
            raise OutcomeUnknown(_MAY_HAVE_BEEN_DONE, retry_after_s=1) from None

    def _answer_with(self, response: Response, request: PassedRequest, output: Output) -> None:
        length = response.headers.get("content-length")
        headers = list(kept(response.headers, _ANSWERED))
        if not request.body.is_over:
            output.closes = True  # the start of the next request is unknown
        if request.exchange.method == "HEAD":
            sized = [] if length is None else [("content-length", length)]
            output.send_head(response.status, [*headers, *sized])
        elif length is None and response.status not in (204, 304):
            output.send_pieces(response.status, headers, response)
        elif length is None or int(length) <= LITTLE:
            output.send(response.status, headers, b"".join(response))
        else:
            output.send_pieces(response.status, [*headers, ("content-length", length)], response)

    # --- WebSockets -----------------------------------------------------------------------------

    def _open_tunnel(
        self, leader: Leader, url: str, target: RawTarget, connection: ClientSocket
    ) -> None:
        try:
            tunnel = Tunnel(target.url)
        except OSError as error:
            raise NotReached(reason_of(error)) from None
        call = self._begin(leader, url, tunnel.close)
        try:
            try:
                status, answer = tunnel.open(target.message(None))
            except OSError as error:
                raise NotReached(reason_of(error)) from None
            if NOT_LEADING.lower().encode() in answer.lower():
                raise NotReached
            if status == 101:
                connection.send(answer, SILENCE_S)
                tunnel.run(connection.socket, connection.take_held(), connection.close)
            else:
                connection.send(tunnel.rest(answer), SILENCE_S)
        finally:
            self._calls.discard(call)
            tunnel.close()
