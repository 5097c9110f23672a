"""pywsgi's request handler with a strict request parser, timeouts and a connection limit."""

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import gevent
import msgspec
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.server import StreamServer

from ...actors.base.cooperation import YieldControl, never_yield
from . import request_head
from .body_framing import RequestInput
from .connection_limit import EXTRA, ConnectionLimit
from .disconnects import DisconnectWatcher
from .rate_limited_log import RateLimitedLog
from .request_head import Refused

log = logging.getLogger("ollama_queue")
_say_no_tls = RateLimitedLog(log, logging.INFO)

IDLE_S = 75.0  # between two requests of a connection
HEAD_S = 10.0  # from a request's first byte to the end of its head; also for the TLS handshake
BODY_S = 60.0  # without a byte of the body received, or with a piece of the answer unsent
SEND_PATIENCE_S = 30.0  # for a client that stops reading a stream
LINGER_S = 2.0  # for a client to stop sending an unread body, before the connection is closed
MAX_HEAD = 32 << 10  # bytes
MAX_LINES = 100  # of a head
PIECE = 1 << 20  # bytes of an answer per write
HEALTH = "/healthz"  # answered above the connection limit too

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class HttpServer(WSGIServer):
    """Serves up to `most` connections at once, and a few extra that get 503."""

    max_accept = 2  # per loop: hundreds of new connections must not delay all other work

    def __init__(
        self,
        *args: Any,
        most: int = 10_000,
        yield_control: YieldControl = never_yield,
        **options: Any,
    ) -> None:
        super().__init__(*args, spawn=Pool(most + EXTRA), **options)
        self.yield_control, self.disconnects = yield_control, DisconnectWatcher(yield_control)
        self.limit = ConnectionLimit(most, self.disconnects.look)
        self._further: list[StreamServer] = []

    def listen_at(self, listener: socket.socket) -> None:
        """Also accept connections from this listener, from `start` on."""
        further = StreamServer(listener, self._handle, spawn=self.pool)
        further.max_accept = self.max_accept
        self._further.append(further)

    def start(self) -> None:
        super().start()
        for further in self._further:
            further.start()
        self._looking = gevent.spawn(self.disconnects.run)

    def stop(self, timeout: float | None = None) -> None:
        for further in self._further:
            further.close()
        super().stop(timeout)
        self._looking.kill(block=False)

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> None:
        """Do the TLS handshake within `HEAD_S`; a failure is one log line."""
        self.limit.enter()
        try:
            client_socket.settimeout(HEAD_S)
            secure = self.wrap_socket(client_socket, **self.ssl_args)
        except OSError as error:  # includes SSLError and timeouts
            why = error.reason if isinstance(error, ssl.SSLError) else error
            _say_no_tls("TLS handshake with %s failed: %s", address[0], why or error)
            return
        finally:
            self.limit.leave()
        with contextlib.closing(secure):
            self.handle(secure, address)


class Handler(WSGIHandler):
    """Bounds every wait for a client, rejects ambiguous requests, sends head and body of an
    answer in one write, and formats no access log."""

    said: request_head.RequestHead
    content: RequestInput
    _is_extra = False  # above the connection limit
    _is_unread = False  # the client may still be sending
    _leave: Callable[[], None] | None = None  # called when the client disconnects
    _head: bytearray | None = None
    _holds_head = False

    def handle(self) -> None:
        self._greenlet = gevent.getcurrent()
        self._is_extra = not self.server.limit.enter()
        try:
            while self.handle_one_request():
                self.server.limit.idle()
        finally:
            self.server.limit.leave()
            self._hang_up()
            for name in ("socket", "rfile", "wsgi_input"):
                self.__dict__.pop(name, None)

    def _hang_up(self) -> None:
        """Close the connection. Drain it first: closing with unread bytes resets it, and the
        client could lose the answer."""
        with contextlib.suppress(OSError), gevent.Timeout(LINGER_S, False):
            if self._is_unread and not self._is_extra:
                self.socket.shutdown(socket.SHUT_WR)
                while self.socket.recv(1 << 16):
                    self.server.yield_control()
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a WebSocket is being read
            self.rfile.close()  # it keeps the socket open too
        with contextlib.suppress(OSError):
            self.socket.close()

    # --- reading --------------------------------------------------------------------------------

    def handle_one_request(self) -> bool:
        """Handle one request; whether another may follow on this connection."""
        try:
            raw = self._read_head()
            if not raw:
                return False
            self.head = request_head.parse(raw)
            self.server.limit.busy()
            if self._is_extra and self.head.target != HEALTH:
                raise Refused(503, "too many connections; try again later")
        except Refused as refused:
            self._refuse(refused)
            return False
        except OSError:  # idle for too long, or disconnected
            return False
        self._take_up()
        self.server.disconnects.watch(self)
        try:
            self.handle_one_response()
        finally:
            self.server.disconnects.forget(self)
        return not self.close_connection

    def _read_head(self) -> bytes:
        """The bytes up to the empty line; empty if the client left. Raises `Refused`."""
        self.socket.settimeout(IDLE_S)
        if b"\r\n\r\n" in self.rfile.peek(1):
            return self._read_lines()
        with gevent.Timeout(HEAD_S) as patience:
            try:
                return self._read_lines()
            except gevent.Timeout as over:
                if over is not patience:
                    raise
                raise Refused(408, "the request's head did not arrive in time") from None

    def _read_lines(self) -> bytes:
        lines: list[bytes] = []
        left = MAX_HEAD
        while left > 0 and len(lines) <= MAX_LINES:
            line = self.rfile.readline(left)
            left -= len(line)
            if line == b"\r\n" and not lines and left == MAX_HEAD - 2:
                continue  # some clients send an extra empty line after a body
            if not line:
                return b""
            lines.append(line)
            if line == b"\r\n":
                return b"".join(lines)
            if left > 0 and not line.endswith(b"\r\n"):
                raise Refused(400, "the lines of a request's head must end in CR LF")
        limits = f"{MAX_HEAD} bytes and {MAX_LINES} lines"
        raise Refused(431, f"a request's head may have at most {limits}")

    def _refuse(self, refused: Refused) -> None:
        log.debug("refused a request of %s: %s", self.client_address, refused.reason)
        code = "unavailable" if refused.status == 503 else "invalid"
        body = msgspec.json.encode({"error": {"code": code, "message": refused.reason}})
        answer = (
            f"HTTP/1.1 {refused.status} {_REASONS[refused.status]}\r\n"
            "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
            f"{'Retry-After: 1' if refused.status == 503 else 'Cache-Control: no-store'}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._is_unread = True
        with contextlib.suppress(OSError):
            self.socket.settimeout(LINGER_S)
            self.socket.sendall(answer.encode() + body)

    def _take_up(self) -> None:
        """Set the attributes that pywsgi expects of a parsed request."""
        head = self.head
        self.command, self.request_version = head.method, head.version
        self.requestline = f"{head.method} {head.target} {head.version}"
        self.close_connection = not head.keeps_alive or self._is_extra
        self.socket.settimeout(BODY_S)
        self.content = RequestInput(
            self.rfile, head, self.socket.sendall, self.server.yield_control
        )
        self.application = self.server.application
        self.environ = self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = self.server.get_environ()
        head = self.head
        path, _, query = head.target.partition("?")
        environ["REQUEST_METHOD"] = head.method
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin1")).decode("latin1")
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = head.version
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = map(str, self.client_address[:2])
        for name, value in head.fields:
            key = name.replace("-", "_").upper()
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            joint = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
        environ["wsgi.input"] = self.content
        environ["wsgi.input_terminated"] = True
        environ["ollama_queue.on_disconnect"] = self.on_disconnect
        return environ

    # --- disconnects ----------------------------------------------------------------------------

    def on_disconnect(self, leave: Callable[[], None]) -> Callable[[], None]:
        """Call `leave`, which must not block, when the client disconnects; returns a function that
        cancels this. By default the request is aborted, unless its answer has begun."""
        self.socket.settimeout(SEND_PATIENCE_S)
        self._leave = leave

        def forget() -> None:
            self._leave = None
            self.socket.settimeout(BODY_S)

        return forget

    def client_left(self) -> None:
        self.close_connection = True
        self.server.limit.going(self._greenlet)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        else:
            gevent.get_hub().loop.run_callback(self._break_off)

    def _break_off(self) -> None:
        if self in self.server.disconnects and not self.headers_sent:
            self._greenlet.throw(gevent.GreenletExit)

    # --- writing --------------------------------------------------------------------------------

    def handle_one_response(self) -> None:
        self.status, self.result, self.headers_sent = None, None, False
        self.response_use_chunked = self.connection_upgraded = False
        self.response_length = 0
        try:
            self.run_application()
            if not self.content.is_over and self.content.may_be_skipped:
                self.content.read()
        except OSError as error:  # the client left or stopped reading
            log.debug("could not send the answer to %s: %s", self.client_address, error)
            self.close_connection = True
        except Exception:
            log.exception("%s %s", self.head.method, self.environ["PATH_INFO"])
            self.close_connection = True
            self._send_error_response_if_possible(500)
        self._is_unread = not self.content.is_over

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        if not (self.content.is_over or self.content.may_be_skipped):
            self.close_connection = True  # the start of the next request is unknown
        write = super().start_response(status, headers, exc_info)
        names = {name for name, _ in self.response_headers}
        if b"X-Content-Type-Options" not in names:
            self.response_headers.append((b"X-Content-Type-Options", b"nosniff"))
        if self.close_connection and b"Connection" not in names:
            self.response_headers.append((b"Connection", b"close"))
        return write

    def log_request(self) -> None:
        """Do nothing: pywsgi formats the line even when there is no access log."""

    def _write_with_headers(self, data: Any) -> None:
        self._holds_head = True
        super()._write_with_headers(data)
        if self._head is not None:  # there was no body
            self._sendall(b"")

    def _sendall(self, data: Any) -> None:
        if self._holds_head:
            self._holds_head, self._head = False, data
            return
        if self._head is not None:
            self._head += data
            data, self._head = self._head, None
        if len(data) <= PIECE:
            super()._sendall(data)
            return
        whole = memoryview(data)  # the timeout applies to each piece
        for start in range(0, len(whole), PIECE):
            super()._sendall(whole[start : start + PIECE])
