"""A WebSocket of a client, as a pipe to the server that leads."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from ...actors.base.thread_pool import begin
from ...actors.executors.transport import trusting_tls

CONNECT_S = 5.0
MAX_HEAD = 64 << 10
_PIECE = 64 << 10


class TunnelLost(OSError):
    """The leader ended the handshake without an answer."""


class Tunnel:
    """A connection to `leader`. Raises `OSError` if there is none; `close` ends it, from any
    thread."""

    def __init__(self, leader: httpx.URL) -> None:
        port = leader.port or {"http": 80, "https": 443}[leader.scheme]
        self._socket: socket.socket = socket.create_connection((leader.host, port), CONNECT_S)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if leader.scheme == "https":
                self._socket = trusting_tls().wrap_socket(self._socket, server_hostname=leader.host)
        except BaseException:
            self._socket.close()
            raise

    def open(self, head: bytes) -> tuple[int, bytes]:
        """Send the handshake. Returns the status of the answer, and its bytes as far as they came:
        the whole head at least."""
        self._socket.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < MAX_HEAD:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise TunnelLost("the leader has closed the connection")
            answer += piece
        status = answer[9:12]
        return (int(status) if status.isdigit() else 502), answer

    def rest(self, answer: bytes) -> bytes:
        """The whole answer, of which so much has come, when it opens no WebSocket: the leader
        closes the connection behind it."""
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})\r\n", head + b"\r\n", re.I)
        left = MAX_HEAD if length is None else int(length[1]) - len(body)
        while 0 < left <= MAX_HEAD and (piece := self._socket.recv(_PIECE)):
            answer += piece
            left -= len(piece)
        return answer

    def run(self, client: Any, held: bytes, end: Callable[[], None]) -> None:
        """Carry bytes both ways until one end closes. `held` came from the client already; `end`
        ends the client's connection."""
        self._socket.settimeout(None)

        def upstream() -> None:
            with suppress(OSError):
                if held:
                    self._socket.sendall(held)
                while piece := client.recv(_PIECE):
                    self._socket.sendall(piece)
            self.close()

        begin(threading.Thread(target=upstream, name="websocket-upstream", daemon=True))
        try:
            client.settimeout(None)
            while piece := self._socket.recv(_PIECE):
                client.sendall(piece)
        finally:
            self.close()
            end()

    def close(self) -> None:
        with suppress(OSError):
            # Not SSLSocket's own: it would drop the TLS state that the reader is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        with suppress(OSError):
            self._socket.close()
