"""httpx over the standard library's HTTP parser: one warm connection that any thread can cut."""

import contextlib
import functools
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator

import httpx

_PORTS = {"http": 80, "https": 443}
_PIECE = 64 * 1024
# How long the end of a body may take that nobody reads to its end: a stream's last word and the
# mark that ends the body mostly come together, and seeing the mark saves the connection.
_LAST_LOOK_S = 0.05


class Aborted(httpx.TransportError):
    """The call was ended from our side."""


class ConnectionTransport(httpx.BaseTransport):
    """One keep-alive connection to one server, used for one request at a time.

    The thread that makes the request also closes; only `abort` may come from another. Request
    bodies are bytes. `silence_s` is the longest wait for a byte, `connect_s` that for a connection.
    """

    def __init__(self, silence_s: float, connect_s: float = 5.0) -> None:
        self.is_aborted = False
        self._silence_s, self._connect_s = silence_s, connect_s
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._origin: tuple[str, bytes, int | None] | None = None

    def begin(self) -> None:
        """Forget an earlier abort: a new call is about to run."""
        self.is_aborted = False

    def abort(self) -> None:
        """End the running request, from any thread at any moment after `begin`."""
        with self._lock:
            self.is_aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # not connected yet, or no longer
                    # Not SSLSocket's own: it would forget the TLS state the reader is using.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close the connection; the next request opens another."""
        # Under the lock, lest abort shut a socket number that already belongs to someone else.
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        message = _as_bytes(request)
        url = request.url
        origin = (url.scheme, url.raw_host, url.port)
        if origin != self._origin:
            self.drop()
            self._origin = origin
        warm = self._socket
        if warm is None:
            return self._exchange(self._connect(url), message, request.method)
        try:
            return self._exchange(warm, message, request.method)
        except _Unanswered:
            # The server closed the idle connection, which is noticed only now. Not a byte was
            # answered, so the request may go out again; on a fresh connection it is a failure.
            return self._exchange(self._connect(url), message, request.method)

    def fail(self, error: Exception) -> httpx.TransportError:
        """Drop the connection; `error`, seen while sending or reading, in httpx's words."""
        self.drop()
        if self.is_aborted:
            return Aborted("the call was aborted")
        if isinstance(error, TimeoutError):
            return httpx.ReadTimeout("the server was silent for too long")
        if isinstance(error, _Closed):
            return _Unanswered(str(error))
        if isinstance(error, http.client.IncompleteRead):
            return httpx.RemoteProtocolError("the answer was cut short")
        if isinstance(error, http.client.HTTPException):
            return httpx.RemoteProtocolError(str(error) or type(error).__name__)
        return httpx.ReadError(reason_of(error))

    def wait_at_most(self, seconds: float | None = None) -> None:
        """Wait `seconds` for a byte instead of `silence_s`; None goes back to that."""
        if self._socket is not None:
            self._socket.settimeout(self._silence_s if seconds is None else seconds)

    def _exchange(self, sock: socket.socket, message: bytes, method: str) -> httpx.Response:
        with self._lock:
            aborted = self.is_aborted
        if aborted:
            self.drop()
            raise Aborted("the call was aborted before it was sent")
        reply = None
        try:
            # A server may answer (413, say) and close before it has read everything.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(message)
            reply = _Reply(sock, method=method)
            reply.begin()
        except (OSError, http.client.HTTPException) as error:
            if reply is not None:
                reply.close()
            raise self.fail(error) from error
        return self._response(reply)

    def _response(self, reply: "_Reply") -> httpx.Response:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in reply.headers.items()
        ]
        return httpx.Response(
            reply.status,
            headers=headers,
            stream=_Body(self, reply),
            extensions={"reason_phrase": reply.reason.encode("latin-1")},
        )

    def _connect(self, url: httpx.URL) -> socket.socket:
        host = url.raw_host.decode("ascii")
        try:
            sock = self._dial(host, url.port or _PORTS[url.scheme])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if url.scheme == "https":
                sock = self._secure(sock, host)
            sock.settimeout(self._silence_s)
        except (OSError, UnicodeError) as error:
            self.drop()
            if self.is_aborted:
                raise Aborted("the call was aborted while connecting") from error
            if isinstance(error, TimeoutError):
                raise httpx.ConnectTimeout(f"no answer for {self._connect_s:g} s") from error
            raise httpx.ConnectError(reason_of(error)) from error
        return sock

    def _dial(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that answers; raises the last one's error."""
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            self._expose(sock)
            sock.settimeout(self._connect_s)
            try:
                sock.connect(address)
            except OSError as error:
                failure = error
            else:
                return sock
        raise failure

    def _secure(self, sock: socket.socket, host: str) -> socket.socket:
        with self._lock:  # wrapping takes the socket's number away from `sock`
            self._socket = secure = _tls().wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
        secure.do_handshake()
        return secure

    def _expose(self, sock: socket.socket) -> None:
        """Put `sock` where abort finds it, before it connects: connecting takes seconds."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()  # an address that did not answer
            self._socket = sock
            aborted = self.is_aborted
        if aborted:
            self.drop()
            raise Aborted("the call was aborted before it was sent")


class _Closed(ConnectionError):
    """The connection ended before the first byte of an answer."""


class _Unanswered(httpx.RemoteProtocolError):
    """`_Closed` in httpx's words."""


class _Reply(http.client.HTTPResponse):
    """An answer that tells silence from an answer cut short."""

    def begin(self) -> None:
        try:
            first = self.fp.peek(1)
        except ConnectionError as error:
            raise _Closed(f"closed without an answer: {reason_of(error)}") from error
        if not first:
            raise _Closed("closed without an answer")
        super().begin()


class _Body(httpx.SyncByteStream):
    """The body of an answer. Read whole, it leaves the connection warm."""

    def __init__(self, transport: ConnectionTransport, reply: _Reply) -> None:
        self._transport, self._reply = transport, reply
        self._left = reply.length  # None: chunked, or as long as the connection lasts
        self._is_whole = self._is_broken = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._read():
                yield piece
        except (OSError, http.client.HTTPException) as error:
            self._is_broken = True
            self._reply.close()
            raise self._transport.fail(error) from error
        if self._transport.is_aborted:  # whose EOF may look like the end of the body
            raise Aborted("the call was aborted")

    def close(self) -> None:
        if not (self._is_whole or self._is_broken):
            self._transport.wait_at_most(_LAST_LOOK_S)
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._read()
            self._transport.wait_at_most()
        self._reply.close()
        if not self._is_whole or self._reply.will_close:
            self._transport.drop()

    def _read(self) -> bytes:
        """The next piece; nothing at the end. Counts by itself: not every 3.11's read1 does."""
        if self._left is None:
            piece = self._reply.read1(_PIECE)
        else:
            piece = self._reply.read1(min(_PIECE, self._left)) if self._left else b""
            self._left -= len(piece)
            if self._left and not piece:
                raise http.client.IncompleteRead(b"", self._left)
        self._is_whole = not piece
        return piece


def reason_of(error: Exception) -> str:
    """What went wrong, in the system's words and without its numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words[:1].lower() + words[1:])


def _as_bytes(request: httpx.Request) -> bytes:
    start = b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)
    lines = [start, *(b"%s: %s" % header for header in request.headers.raw)]
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise httpx.LocalProtocolError("a header must be a single line")
    return b"\r\n".join((*lines, b"", request.read()))


@functools.cache
def _tls() -> ssl.SSLContext:
    """The one context of all connections: making it takes 30 ms. Trusts what the system trusts."""
    return ssl.create_default_context()
