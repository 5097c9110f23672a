"""pywsgi's request handler, without what costs time for nothing here."""

import socket
from collections.abc import Callable
from http.client import HTTPException
from io import BytesIO
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.socket import wait_read

IDLE_S = 75.0  # between two requests of a connection
HEAD_S = 10.0  # from a request's first byte to the end of its head; for TLS to be agreed on, too
BODY_S = 60.0  # without a byte of the body, or with a piece of the answer not taken
SEND_PATIENCE_S = 30.0  # with a reader of a stream that takes nothing
MAX_HEAD = 32 << 10  # bytes
PIECE = 1 << 20  # bytes of an answer
TLS_LOOK_S = 0.2  # how often a TLS connection on which something came is looked at for its end
_ESTABLISHED = 1  # Linux's number of the state of a TCP connection that nobody has closed

_REFUSAL = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_SLOW = _REFUSAL % b"408 Request Timeout"
_TOO_LARGE = _REFUSAL % b"431 Request Header Fields Too Large"


class HeadTooLarge(ValueError):
    """The request's head has more bytes than are taken."""


class Server(WSGIServer):  # type: ignore[misc]
    """A client that does not get on with TLS does not hold its connection for ever."""

    def wrap_socket(self, client_socket: Any, **options: Any) -> Any:
        client_socket.settimeout(HEAD_S)
        return super().wrap_socket(client_socket, **options)


class Handler(WSGIHandler):  # type: ignore[misc]
    """Waits for no client for ever, sends head and body of an answer in one piece, and formats no
    access log."""

    _head: bytearray | None = None
    _holds_head = False
    _patience: gevent.Timeout | None = None  # with a head that does not come in one piece

    # --- reading --------------------------------------------------------------------------------

    def handle_one_request(self) -> Any:
        self.socket.settimeout(IDLE_S)
        try:
            ahead = self.rfile.peek(1)
        except (OSError, ValueError):  # idle for too long, or gone
            return None
        if b"\r\n\r\n" in ahead:
            return super().handle_one_request()
        with gevent.Timeout(HEAD_S) as self._patience:
            patience = self._patience
            try:
                return super().handle_one_request()
            except gevent.Timeout as over:
                if over is not patience:
                    raise
                return "408", _TOO_SLOW
            finally:
                self._patience = None

    def read_request(self, raw_requestline: str) -> Any:
        is_read = super().read_request(raw_requestline)
        if self._patience is not None:
            self._patience.cancel()
        self.socket.settimeout(BODY_S)
        return is_read

    def MessageClass(self, fp: Any, *rest: Any) -> Any:
        """Parse the head, of which no more than `MAX_HEAD` bytes are read."""
        if self._patience is None:
            return super().MessageClass(fp, *rest)
        lines, room = [], MAX_HEAD
        while room > 0:
            line = fp.readline(room)
            lines.append(line)
            room -= len(line)
            if line in (b"\r\n", b"\n", b""):
                return super().MessageClass(BytesIO(b"".join(lines)), *rest)
        raise HeadTooLarge

    def _handle_client_error(self, ex: Exception) -> Any:
        if isinstance(ex, HeadTooLarge | HTTPException):  # the latter of more than 100 lines
            return "431", _TOO_LARGE
        return super()._handle_client_error(ex)

    def log_request(self) -> None:
        """pywsgi formats the line even when there is nowhere to write it to."""

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["ollama_queue.watch_departure"] = self.watch_departure
        return environ

    def watch_departure(self, leave: Callable[[], None]) -> Callable[[], None]:
        """Have `leave` called when the client closes the connection; returns how to stop that.

        Otherwise a stream in which nothing happens would notice it at the next write only.
        """
        connection = self.socket
        connection.settimeout(SEND_PATIENCE_S)

        def watch() -> None:
            try:
                wait_read(connection.fileno())
                while self.server.ssl_enabled and _is_connected(connection):
                    gevent.sleep(TLS_LOOK_S)
                if not self.server.ssl_enabled and connection.recv(1, socket.MSG_PEEK):
                    return  # its next request: it is still there
            except OSError:
                pass
            leave()

        watcher = gevent.spawn(watch)

        def forget() -> None:
            watcher.kill(block=False)
            connection.settimeout(BODY_S)

        return forget

    # --- writing --------------------------------------------------------------------------------

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
        whole = memoryview(data)  # the limit of time is one of each piece
        for start in range(0, len(whole), PIECE):
            super()._sendall(whole[start : start + PIECE])


def _is_connected(connection: Any) -> bool:
    """What TLS says at its end is data to everyone else, and cannot be peeked at."""
    info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0] == _ESTABLISHED
