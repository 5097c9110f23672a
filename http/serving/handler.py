"""The loop of one connection: reads requests, has them answered, sends the answers.

It bounds every wait for a client and rejects ambiguous requests. A request to a route that
`QueueApp.answer` finds never becomes a WSGI environment; Bottle routes all others.
"""

import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import gevent
import msgspec

from ...actors.base.cooperation import YieldControl
from ...actors.core.model.errors import QueueError
from .. import wire
from ..forwarding.leader_door import LeaderDoor
from ..forwarding.passed_request import PassedRequest
from ..requests.exchange import EXCHANGE, Exchange
from ..requests.proxies import Proxies
from ..routes import SOCKET
from . import request_head, websocket
from .app import QueueApp
from .body_framing import BODY_S, RequestBody
from .client_connection import ClientConnection
from .connection_limit import ConnectionLimit
from .disconnects import DisconnectWatcher
from .request_head import Refused, RequestHead
from .response_writer import ResponseWriter

log = logging.getLogger("ollama_queue")

IDLE_S = 75.0  # between two requests of a connection
HEAD_S = 10.0  # from a request's first byte to the end of its head
SEND_PATIENCE_S = 30.0  # for a client that stops reading a stream; otherwise `BODY_S`
LINGER_S = 2.0  # for a client to stop sending an unread body, before the connection is closed
MAX_HEAD = 32 << 10  # bytes
MAX_LINES = 100  # of a head
HEALTH = "/healthz"  # answered above the connection limit too
_BARE_LF = re.compile(rb"(?<!\r)\n")


class _ErrorLog:
    """Bottle's errors, as lines of the log."""

    def write(self, text: str) -> None:
        log.error("%s", text.rstrip())

    def flush(self) -> None:
        """Do nothing: each line is written at once."""


_ERRORS = _ErrorLog()


class Served(Protocol):
    """What a handler needs of the server."""

    app: QueueApp
    yield_control: YieldControl
    disconnects: DisconnectWatcher
    limit: ConnectionLimit
    proxies: Proxies
    door: LeaderDoor | None  # of one server among several
    websockets: int  # being served
    streams: int


class ConnectionHandler:
    """Serves one connection in its own greenlet."""

    def __init__(self, server: Served, connection: ClientConnection) -> None:
        self._server, self._connection = server, connection
        self.socket = connection.socket
        self._greenlet = gevent.getcurrent()
        self._is_extra = False  # above the connection limit
        self._is_unread = False  # the client may still be sending
        self._has_left = False
        self._leave: Callable[[], None] | None = None  # called when the client disconnects
        self._writer: ResponseWriter | None = None
        self._exchange: Exchange | None = None  # the request being answered

    def run(self) -> None:
        """Serve the connection to its end."""
        limit = self._server.limit
        self._is_extra = not limit.enter()
        try:
            while self._serve_one():
                limit.idle()
                self._server.yield_control()  # the next request may be here already
        finally:
            limit.leave()
            self._hang_up()
            del self._greenlet  # whose context refers to this handler: break the circle

    def _hang_up(self) -> None:
        """Close the connection. Drain it first: closing with unread bytes resets it, and the
        client could lose the answer."""
        with contextlib.suppress(OSError):
            if self._is_unread and not self._is_extra:
                self.socket.shutdown(socket.SHUT_WR)
                due = monotonic() + LINGER_S
                # Who always has more in the way never waits, and only a wait can be due.
                while monotonic() < due and self._connection.receive(due):
                    self._server.yield_control()
        self._connection.close()

    # --- reading --------------------------------------------------------------------------------

    def _serve_one(self) -> bool:
        """Serve one request; whether another may follow on this connection."""
        try:
            raw = self._read_head()
            if not raw:
                return False
            head = request_head.parse(raw)
            self._server.limit.busy()
            if self._is_extra and head.target != HEALTH:
                raise Refused(503, "too many connections; try again later")
        except Refused as refused:
            self._refuse(refused)
            return False
        except OSError:  # idle for too long, or disconnected
            return False
        self._server.disconnects.watch(self)
        try:
            return self._answer(head)
        finally:
            self._server.disconnects.forget(self)
            exchange, self._exchange = self._exchange, None
            if exchange is not None and exchange.caller.digest:
                self._server.app.access.leave(exchange)

    def _read_head(self) -> bytes:
        """The bytes up to the empty line; empty if the client left. Raises `Refused`."""
        connection = self._connection
        data = connection.take_held() or connection.receive(monotonic() + IDLE_S)
        due, seen = 0.0, 0
        while True:
            if not seen and data.startswith(b"\r\n"):
                data = data[2:]  # some clients send an extra empty line after a body
            end = data.find(b"\r\n\r\n", seen) + 4
            if end >= 4:
                connection.put_back(data[end:])
                _check_size(end, data.count(b"\r\n", 0, end))
                return data[:end]
            _check_size(len(data), 0)
            if _BARE_LF.search(data, seen):
                raise Refused(400, "the lines of a request's head must end in CR LF")
            due = due or monotonic() + HEAD_S
            seen = max(0, len(data) - 3)
            try:
                more = connection.receive(due)
            except TimeoutError:
                raise Refused(408, "the request's head did not arrive in time") from None
            if not more:
                return b""
            data += more

    def _refuse(self, refused: Refused) -> None:
        log.debug("refused a request of %s: %s", self._connection.address, refused.reason)
        code = "unavailable" if refused.status == 503 else "invalid"
        body = msgspec.json.encode({"error": {"code": code, "message": refused.reason}})
        headers = {
            "Content-Type": "application/json",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        if refused.status == 503:
            headers["Retry-After"] = "1"
        self._is_unread = True
        with contextlib.suppress(OSError):
            writer = ResponseWriter(self._connection, 1, closes=True, patience_s=LINGER_S)
            writer.send(refused.status, headers.items(), body)

    # --- answering ------------------------------------------------------------------------------

    def _answer(self, head: RequestHead) -> bool:
        """Answer a request; whether another may follow."""
        server, connection = self._server, self._connection
        body = RequestBody(connection, head, server.yield_control)
        path, _, query = head.target.partition("?")
        if "%" in path:
            path = unquote_to_bytes(path.encode("latin1")).decode("latin1")
        bare = server.proxies.path_of(path)
        exchange = self._exchange = Exchange(
            head.method,
            "/" if bare is None else bare,
            query,
            head.headers,
            body,
            yield_control=server.yield_control,
            on_disconnect=self._on_disconnect,
            address=server.proxies.client_of(connection.address[0], head.headers),
            cut_off=self._cut_off,
        )
        closes = not head.keeps_alive or self._is_extra or self._server.limit.is_closing
        writer = self._writer = ResponseWriter(connection, head.minor, closes, BODY_S)
        if not isinstance(self.socket, ssl.SSLSocket):
            exchange.send_now = writer.send_now
        try:
            if bare is None:
                writer.closes = writer.closes or not body.is_over
                self._complete_base_path(writer, query)
                self._is_unread = not body.is_over
                return not writer.closes
            answer = None
            if server.door is not None:
                request = self._to_pass_on(head, body)
                if server.door.may_try(request) and server.app.may_try(exchange):
                    if self._serve_websocket(exchange, head):
                        return False
                    answer = server.app.try_to_answer(exchange)
                    request.rewind()
                if answer is None and self._pass_on(server.door, request, body):
                    return not (writer.closes or self._has_left)
            if answer is None:
                if self._serve_websocket(exchange, head):
                    return False
                answer = server.app.answer(exchange)
            if not (body.is_over or body.may_be_skipped):
                writer.closes = True  # the start of the next request is unknown
            if answer is None:
                self._answer_by_wsgi(exchange, body)
            elif isinstance(answer, bytes):
                writer.send(exchange.status, server.app.headers(exchange), answer)
            else:
                server.streams += 1
                try:
                    with contextlib.closing(answer):
                        writer.send_pieces(exchange.status, server.app.headers(exchange), answer)
                finally:
                    server.streams -= 1
            if not body.is_over and body.may_be_skipped:
                body.read()
        except OSError as error:  # the client left or stopped reading
            log.debug("could not send the answer to %s: %s", connection.address, error)
            writer.closes = True
        except Exception:
            log.exception("%s %s", head.method, path)
            self._is_unread = not body.is_over
            if not writer.has_begun:
                self._refuse_broken(writer)
            return False
        self._is_unread = not body.is_over
        return not (writer.closes or self._has_left)

    def _serve_websocket(self, exchange: Exchange, head: RequestHead) -> bool:
        """Serve a WebSocket until it is closed; False if the request does not open one."""
        server = self._server
        if not websocket.is_upgrade(exchange, head, server.app):
            return False
        server.disconnects.forget(self)  # the frame reader notices instead
        server.websockets += 1
        try:
            websocket.serve(self._connection, exchange, server.app)
        finally:
            server.websockets -= 1
        return True

    def _to_pass_on(self, head: RequestHead, body: RequestBody) -> PassedRequest:
        exchange = self._exchange
        assert exchange is not None
        is_handshake = websocket.is_handshake(head) and wire.tidy(exchange.path) == SOCKET.path
        return PassedRequest(
            exchange, head.target, head.length, head.is_chunked, body, is_handshake
        ).keep_body()

    def _pass_on(self, door: LeaderDoor, request: PassedRequest, body: RequestBody) -> bool:
        """Have the server that leads answer; False if that is this one."""
        exchange, writer, app = request.exchange, self._writer, self._server.app
        assert writer is not None
        try:
            app.guard.check(exchange)
            is_passed = door.answer(request, writer, self._connection)
        except QueueError as error:
            if not (body.is_over or body.may_be_skipped):
                writer.closes = True
            answer = app.refuse(exchange, error)
            writer.send(exchange.status, app.headers(exchange), answer)
            if not body.is_over and body.may_be_skipped:
                body.read()
            is_passed = True
        if is_passed:
            writer.closes = writer.closes or request.is_handshake or not body.is_over
            self._is_unread = not body.is_over
        return is_passed

    def _complete_base_path(self, writer: ResponseWriter, query: str) -> None:
        """Redirect from the prefix to the page, whose addresses are relative to its slash."""
        place = f"{self._server.proxies.base_path}/{f'?{query}' if query else ''}"
        writer.send(308, (("Location", place), ("Content-Type", "text/plain")), b"")

    def _refuse_broken(self, writer: ResponseWriter) -> None:
        writer.closes = True
        with contextlib.suppress(OSError):
            writer.send(500, (("Content-Type", "text/plain"),), b"Internal Server Error")

    def _answer_by_wsgi(self, exchange: Exchange, body: RequestBody) -> None:
        """Have Bottle answer. The environment has the exchange and what Bottle itself reads."""
        writer = self._writer
        assert writer is not None
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
            started.append((int(status[:3]), headers))

        environ = {
            "REQUEST_METHOD": exchange.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": exchange.path,
            "QUERY_STRING": exchange.query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": body,
            "wsgi.errors": _ERRORS,
            EXCHANGE: exchange,
        }
        pieces: Iterable[bytes] = self._server.app(environ, start_response)
        try:
            if not (body.is_over or body.may_be_skipped):
                writer.closes = True
            status, headers = started[-1]
            if exchange.method == "HEAD":
                writer.send_head(status, headers)
            elif isinstance(pieces, list):
                others = [each for each in headers if each[0] != "Content-Length"]
                writer.send(status, others, b"".join(pieces))
            else:
                writer.send_pieces(status, headers, pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    # --- disconnects ----------------------------------------------------------------------------

    def _on_disconnect(self, leave: Callable[[], None]) -> Callable[[], None]:
        """Call `leave`, which must not block, when the client disconnects; returns a function that
        cancels this. By default the request is aborted, unless its answer has begun."""
        writer = self._writer
        assert writer is not None
        writer.patience_s, self._leave = SEND_PATIENCE_S, leave

        def forget() -> None:
            writer.patience_s, self._leave = BODY_S, None

        return forget

    def client_left(self) -> None:
        self._has_left = True
        self._server.limit.going(self._greenlet)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        else:
            gevent.get_hub().loop.run_callback(self._break_off)

    def _cut_off(self) -> None:
        """End the request: its key has been revoked, or has expired."""
        exchange = self._exchange
        if exchange is not None and exchange.websocket is not None:
            exchange.websocket.close(websocket.REFUSED, "the API key is no longer valid")
            return
        self.client_left()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _break_off(self) -> None:
        has_begun = self._writer is not None and self._writer.has_begun
        if self in self._server.disconnects and not has_begun:
            self._greenlet.throw(gevent.GreenletExit)


def _check_size(size: int, lines: int) -> None:
    if size > MAX_HEAD or lines > MAX_LINES:
        limits = f"{MAX_HEAD} bytes and {MAX_LINES} lines"
        raise Refused(431, f"a request's head may have at most {limits}")
