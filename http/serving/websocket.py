"""WebSockets: the handshake, and the frames of gevent-websocket, hardened.

gevent-websocket has no frame size limit, unmasks byte by byte on the hub, accepts unmasked frames,
and closes without the right code. Only our WebSocket path is upgraded.
"""

import re
import ssl
import struct
from base64 import b64encode
from hashlib import sha1
from math import inf
from socket import SHUT_RD
from threading import Lock
from typing import Any

from geventwebsocket.exceptions import ProtocolError, WebSocketError
from geventwebsocket.websocket import Header, WebSocket

from ...actors.core.model.errors import QueueError
from .. import wire
from ..access import access_control
from ..requests.exchange import Exchange
from ..routes import SOCKET
from .app import QueueApp
from .client_connection import ClientConnection
from .disconnects import Turns
from .request_head import RequestHead, words

MAX_MESSAGE = 1 << 20
REFUSED = 1008  # "policy violation": the key does not allow it, or not any more
PROTOCOL = "ollama-queue"  # for clients that also send their key as a subprotocol
IDLE_S = 60.0  # three unanswered pings, or a client that stops reading
CLOSE_S = 2.0  # to send the close frame and what is queued before it
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of the protocol
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n%b\r\n"
)
_leaving = Turns()
CONTROL = (WebSocket.OPCODE_CLOSE, WebSocket.OPCODE_PING, WebSocket.OPCODE_PONG)


class _FrameStream:
    """What gevent-websocket reads frames from and writes them to. The socket has a timeout."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._is_plain = not isinstance(connection.socket, ssl.SSLSocket)

    def write(self, frames: bytes) -> None:
        """`sendall` sets a timer for each call: it is for what the system does not take at once."""
        rest = self._connection.send_now(frames) if self._is_plain else frames
        if rest:
            self._connection.socket.sendall(rest)

    def read(self, size: int) -> bytes:
        return self._connection.read(size, inf)


class TooBig(ProtocolError):
    """A message larger than `MAX_MESSAGE`."""


class SafeWebSocket(WebSocket):
    """A WebSocket that several greenlets may write to: frames are sent one at a time."""

    closed: bool

    def __init__(self, connection: ClientConnection, exchange: Exchange) -> None:
        super().__init__(None, _FrameStream(connection), None)
        self._lock = Lock()
        self._yield_control = exchange.yield_control
        self._socket = connection.socket
        self._socket.settimeout(IDLE_S)

    # --- reading --------------------------------------------------------------------------------

    def receive(self) -> str | bytes | None:
        """The next message, or None once the socket is closed; never raises."""
        message = None if self.closed else self._receive()
        if message is None:
            _leaving.wait()
        return message

    def _receive(self) -> str | bytes | None:
        try:
            return self.read_message()
        except TooBig:
            self.close(1009, f"a message may have at most {MAX_MESSAGE} bytes")
        except UnicodeError:
            self.close(1007)
        except ProtocolError:
            self.close(1002)
        except (WebSocketError, OSError, AttributeError):  # gone, idle, or closed by the writer
            self.close(1006)
        return None

    def read_message(self) -> str | bytes | None:
        opcode, parts, size = 0, [], 0
        while True:
            self._yield_control()  # frames can be as small as two bytes
            header, payload = self.read_frame(MAX_MESSAGE - size)
            if header.opcode in CONTROL:
                if self._control(header, payload):
                    return None
                continue
            is_first = header.opcode in (self.OPCODE_TEXT, self.OPCODE_BINARY)
            if is_first == bool(opcode) or not (is_first or header.opcode == 0):
                raise ProtocolError
            opcode = opcode or header.opcode
            parts.append(payload)
            size += len(payload)
            if header.fin:
                whole = b"".join(parts)
                return whole.decode() if opcode == self.OPCODE_TEXT else whole

    def read_frame(self, limit: int = MAX_MESSAGE) -> tuple[Any, bytes]:
        header = Header.decode_header(self.stream)
        if header.flags or not header.mask:
            raise ProtocolError
        if header.opcode not in CONTROL and header.length > limit:
            raise TooBig
        payload = self.raw_read(header.length) if header.length else b""
        if len(payload) != header.length:
            raise WebSocketError("the connection closed within a frame")
        return header, _unmasked(payload, header.mask)

    def _control(self, header: Any, payload: bytes) -> bool:
        """Handle a control frame; whether it was a close frame."""
        if header.opcode == self.OPCODE_PING:
            self.send_frame(payload, self.OPCODE_PONG)
        elif header.opcode == self.OPCODE_CLOSE:
            self.handle_close(header, payload)
        return bool(header.opcode == self.OPCODE_CLOSE)

    # --- writing --------------------------------------------------------------------------------

    def send(self, *messages: bytes) -> None:
        """Send each as a text message, in one write. Raises `OSError` on failure."""
        self._send_frames(b"".join(_frame(each, self.OPCODE_TEXT) for each in messages))

    def ping(self) -> None:
        self.send_frame(b"", self.OPCODE_PING)

    def send_frame(self, message: bytes, opcode: int) -> None:
        self._send_frames(_frame(message, opcode))

    def _send_frames(self, frames: bytes) -> None:
        with self._lock:
            if self.closed:
                raise ConnectionResetError("the WebSocket is closed")
            self.raw_write(frames)

    def close(self, code: int = 1000, message: str | bytes = "") -> None:
        """Send a close frame with this code; concurrent readers and writers see it closed."""
        if self.closed:
            return
        self.closed = True
        reason = message.encode() if isinstance(message, str) else bytes(message or b"")
        body = struct.pack("!H", code) + reason[:123]
        try:
            if code != 1006 and self._lock.acquire(timeout=CLOSE_S):
                try:
                    self._socket.settimeout(CLOSE_S)
                    self.raw_write(_frame(body, self.OPCODE_CLOSE))
                finally:
                    self._lock.release()  # waiting senders see it closed
            self._socket.shutdown(SHUT_RD)  # wakes a waiting reader
        except OSError:
            pass  # already disconnected


def _frame(message: bytes, opcode: int) -> bytes:
    """A complete unmasked message, as servers send it."""
    size, first = len(message), 0x80 | opcode
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + message


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """XOR as one integer: byte by byte, 1 MB would block the server for a third of a second."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(size, "little")


# --- the handshake ------------------------------------------------------------------------------


def is_upgrade(exchange: Exchange, head: RequestHead, app: QueueApp) -> bool:
    """Whether to open a WebSocket; the route answers other requests to its path."""
    if "upgrade" not in head.headers or wire.tidy(exchange.path) != SOCKET.path:
        return False
    if head.is_chunked or head.length or not is_handshake(head):
        return False
    try:
        app.guard.check(exchange)
        app.access.find(exchange)
    except QueueError:
        return False  # the route answers with the error
    return True


def is_handshake(head: RequestHead) -> bool:
    """Whether it is a WebSocket handshake as in RFC 6455, 4.2.1."""
    headers = head.headers
    return (
        head.method == "GET"
        and head.minor == 1
        and headers.get("upgrade", "").strip().lower() == "websocket"
        and "upgrade" in words(headers.get("connection", ""))
        and headers.get("sec-websocket-version") == "13"
        and _KEY.fullmatch(headers.get("sec-websocket-key", "")) is not None
    )


def serve(connection: ClientConnection, exchange: Exchange, app: QueueApp) -> None:
    """Accept the handshake, and have the route serve the WebSocket until it is closed."""
    key = exchange.headers["sec-websocket-key"]
    accept = b64encode(sha1(f"{key}{_GUID}".encode()).digest())
    connection.send(_SWITCH % (accept, _protocol(exchange)), CLOSE_S)
    exchange.path, exchange.websocket = SOCKET.path, SafeWebSocket(connection, exchange)
    try:
        app.answer(exchange)
    finally:
        exchange.websocket.close(1000 if exchange.status < 400 else REFUSED)


def _protocol(exchange: Exchange) -> bytes:
    """The header that selects one of the subprotocols offered: browsers give up without it.

    `ollama-queue` if it is one of them, so that the key is not sent back.
    """
    header = exchange.headers.get("sec-websocket-protocol", "")
    offered = [word.strip() for word in header.split(",")]
    chosen = PROTOCOL if PROTOCOL in offered else offered[0]
    is_ours = chosen == PROTOCOL or chosen.startswith(access_control.PROTOCOL)
    return f"Sec-WebSocket-Protocol: {chosen}\r\n".encode("latin1") if is_ours else b""
