"""Carries calls: one warm connection to a model server, which any thread can abort."""

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpx

from ..base.receiver import MakeReceiver, PlainReceiver, Receiver
from .http_response import ConnectionClosed, HttpResponse, Incoming, MalformedResponse
from .silence import WATCH

_PORTS = {"http": 80, "https": 443}
# How long to wait for the end of a body that was not read to its end: a stream's last event and
# the end of the body mostly arrive together, and reading the end keeps the connection usable.
_LAST_LOOK_S = 0.05
# So long after its first piece, a reply that nobody follows is read at intervals, unless its pieces
# are large: its end is then found later by a twentieth of its time or less.
UNFOLLOWED_S = 0.25
LITTLE = 16 << 10  # bytes


class Aborted(httpx.TransportError):
    """The call was aborted from our side."""


class Target:
    """Where requests go, and their head but for the length. Raises `httpx.LocalProtocolError`."""

    def __init__(self, method: str, url: httpx.URL, headers: httpx.Headers) -> None:
        self.method, self.url = method, url
        self.origin = (url.scheme, url.raw_host, url.port)
        start = b"%s %s HTTP/1.1" % (method.encode("ascii"), url.raw_path)
        lines = [start, *(b"%s: %s" % header for header in headers.raw)]
        if any(b"\n" in line or b"\r" in line for line in lines):
            raise httpx.LocalProtocolError("a header must be a single line")
        self._head = b"\r\n".join((*lines, b""))

    def message(self, body: bytes | None, more: bytes = b"") -> bytes:
        """The complete request. `more` are headers of this one, each with its line end."""
        if body is None:
            return b"%b%b\r\n" % (self._head, more)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, more, len(body), body)

    @property
    def head_of_pieces(self) -> bytes:
        """The head of a request whose body follows in chunks."""
        return b"%bTransfer-Encoding: chunked\r\n\r\n" % self._head


class ConnectionTransport:
    """One keep-alive connection to one server, used for one request at a time.

    The thread that makes the request also closes; only `abort` and `end_silence` may come from
    another. `silence_s` is the longest wait for a byte, `connect_s` for a connection. Its errors
    are httpx's. `make_receiver` makes what waits for the bytes of a connection.
    """

    def __init__(
        self,
        silence_s: float,
        connect_s: float = 5.0,
        make_receiver: MakeReceiver = PlainReceiver,
    ) -> None:
        self.is_aborted = False
        self._silence_s, self._connect_s = silence_s, connect_s
        self._make_receiver = make_receiver
        self._receiver: Receiver | None = None
        self.is_followed: Callable[[], bool] = lambda: True
        self._rests_from: float | None = None
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._origin: tuple[str, bytes, int | None] | None = None
        self._incoming: Incoming | None = None  # the connection, during a request
        self._warm: Incoming | None = None  # the connection, when idle

    def begin(self, is_followed: Callable[[], bool] = lambda: True) -> None:
        """Clear an earlier abort before a new call, of a reply that `is_followed` or not."""
        self.is_aborted, self.is_followed = False, is_followed

    def abort(self) -> None:
        """End the running request, from any thread at any time after `begin`."""
        with self._lock:
            self.is_aborted = True
            if self._socket is not None:
                self._shut_down()

    def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._warm = None
        WATCH.discard(self)
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
        # Under the lock, so that abort cannot shut down a socket number that was reused.
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self._incoming = None

    def end_silence(self, now: float) -> None:
        """End the current wait if it is longer than `silence_s`, from another thread."""
        with self._lock:
            if self._incoming is not None and self._incoming.due < now:
                self._incoming.run_late()
                self._shut_down()

    def _shut_down(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):  # not connected yet, or no longer
            # Not SSLSocket's own: it would drop the TLS state that the reader is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def send(
        self,
        target: Target,
        body: bytes | None = None,
        more: bytes = b"",
        *,
        repeats: bool = True,
    ) -> "Response":
        """Send a request, and read the head of its answer, which must be closed. `more` are
        headers of this request, as in `Target.message`. Without `repeats`, it is never sent twice.
        """
        message = target.message(body, more)
        warm, self._warm = self._warm, None
        if warm is not None and target.origin == self._origin and warm.is_quiet():
            with contextlib.suppress(*((_Unanswered,) if repeats else ())):
                response = self._exchange(warm, message, target.method)
                if response.status != 408:
                    return response
            # The server closed the idle connection, with a 408 or without an answer, as shows only
            # now. It did not process the request, so it is sent again; on a fresh connection this
            # is a failure.
        self.drop()
        self._origin = target.origin
        return self._exchange(self._connect(target.url), message, target.method)

    def upload(self, target: Target) -> "Upload":
        """Begin a request on a new connection, whose body is sent in pieces; a HEAD has none."""
        self.drop()
        self._origin = target.origin
        incoming = self._connect(target.url)
        self._use(incoming)
        upload = Upload(self, incoming, target.method)
        has_body = target.method != "HEAD"
        upload.send(target.head_of_pieces if has_body else target.message(None))
        return upload

    def rest_after(self, piece: bytes, end: bytes) -> None:
        """Wait for more than the next piece, if the reply has been unfollowed for long enough and
        comes in small pieces. The answer ends with `end`."""
        if len(piece) >= LITTLE:
            return
        now = time.monotonic()
        if self._rests_from is None:  # the first piece, of which followers are still to hear
            self._rests_from = now + UNFOLLOWED_S
        if self._receiver is not None and now >= self._rests_from:
            self._receiver.rest(end, self.is_followed)

    def keep(self, incoming: Incoming) -> None:
        """Keep the connection for the next request: its answer was read to the end."""
        self._warm = incoming
        WATCH.discard(self)

    def fail(self, error: Exception) -> httpx.TransportError:
        """Drop the connection, and convert `error`, seen while sending or reading, to httpx's."""
        self.drop()
        if self.is_aborted:
            return Aborted("the call was aborted")
        if isinstance(error, TimeoutError):
            return httpx.ReadTimeout("the server was silent for too long")
        if isinstance(error, ConnectionClosed):
            return _Unanswered(reason_of(error))
        if isinstance(error, MalformedResponse):
            return httpx.RemoteProtocolError(str(error))
        return httpx.ReadError(reason_of(error))

    def _exchange(self, incoming: Incoming, message: bytes, method: str) -> "Response":
        self._use(incoming)
        upload = Upload(self, incoming, method)
        upload.send(message)
        return upload.answer()

    def _use(self, incoming: Incoming) -> None:
        """Make this the connection of the request that begins. Raises `Aborted`."""
        with self._lock:
            aborted, self._incoming = self.is_aborted, incoming
        if aborted:
            self.drop()
            raise Aborted("the call was aborted before it was sent")
        self._rests_from = None
        WATCH.add(self)

    def read_head(self, incoming: Incoming, method: str) -> "Response":
        """Read the head of the answer to a request that was sent."""
        try:
            # In total: a head that arrives byte by byte, or interim answers, must not extend it.
            incoming.wait_at_most(self._silence_s)
            answer = HttpResponse(incoming, method)
            incoming.wait_at_most(None)
        except (OSError, MalformedResponse) as error:
            raise self.fail(error) from error
        return Response(self, incoming, answer)

    def _connect(self, url: httpx.URL) -> Incoming:
        host = url.raw_host.decode("ascii")
        try:
            sock = self._dial(host, url.port or _PORTS[url.scheme])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if url.scheme == "https":
                sock = self._secure(sock, host)
        except (OSError, UnicodeError) as error:
            self.drop()
            if self.is_aborted:
                raise Aborted("the call was aborted while connecting") from error
            if isinstance(error, TimeoutError):
                raise httpx.ConnectTimeout(f"no answer for {self._connect_s:g} s") from error
            raise httpx.ConnectError(reason_of(error)) from error
        receiver = self._receiver = self._make_receiver(sock)
        return Incoming(sock, self._silence_s, receiver)

    def _dial(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that answers. Raises the last address's error."""
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
        with self._lock:  # wrapping takes over the file descriptor of `sock`
            self._socket = secure = trusting_tls().wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
        secure.do_handshake()
        return secure

    def _expose(self, sock: socket.socket) -> None:
        """Let abort reach `sock` before it connects: connecting may take seconds."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()  # an address that did not answer
            self._socket = sock
            aborted = self.is_aborted
        if aborted:
            self.drop()
            raise Aborted("the call was aborted before it was sent")


class _Unanswered(httpx.RemoteProtocolError):
    """The connection was closed before the first byte of an answer."""


class Upload:
    """A request that is being sent; `is_refused` once the server takes no more of it."""

    def __init__(self, transport: ConnectionTransport, incoming: Incoming, method: str) -> None:
        self._transport, self._incoming, self._method = transport, incoming, method
        self.is_refused = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are. A server may answer (413, say) before it has read them all."""
        try:
            self._incoming.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.is_refused = True
        except OSError as error:
            raise self._transport.fail(error) from error

    def send_piece(self, piece: bytes) -> None:
        """Send a piece of the body as a chunk."""
        self.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> "Response":
        """End the body, and read the head of the answer, which must be closed."""
        if not self.is_refused and self._method != "HEAD":
            self.send(b"0\r\n\r\n")
        return self.answer()

    def answer(self) -> "Response":
        """Read the head of the answer, which must be closed."""
        return self._transport.read_head(self._incoming, self._method)


class Response:
    """An answer: its head, and a body to iterate over once. `headers` as in `HttpResponse`.

    If the body is read to its end, the connection may stay warm.
    """

    def __init__(
        self, transport: ConnectionTransport, incoming: Incoming, answer: HttpResponse
    ) -> None:
        self.status, self.headers = answer.status, answer.headers
        self._transport, self._incoming, self._answer = transport, incoming, answer

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def __iter__(self) -> Iterator[bytes]:
        transport = self._transport
        try:
            for piece in self._answer.pieces:
                yield piece
                if not transport.is_followed():
                    transport.rest_after(piece, self._answer.end)
        except (OSError, MalformedResponse) as error:
            raise transport.fail(error) from error
        if transport.is_aborted:  # an abort's EOF may look like the end of the body
            raise Aborted("the call was aborted")

    def close(self) -> None:
        if not self._answer.is_whole:
            with contextlib.suppress(OSError, MalformedResponse):
                self._incoming.hurry(_LAST_LOOK_S)
                next(self._answer.pieces, b"")  # when broken, this returns at once
                self._incoming.hurry(None)
        if self._answer.leaves_warm:
            self._transport.keep(self._incoming)
        else:
            self._transport.drop()


def reason_of(error: Exception) -> str:
    """The reason in the system's words, without error numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason[:1].lower() + reason[1:])


@functools.cache
def trusting_tls() -> ssl.SSLContext:
    """The shared TLS context: creating one takes 30 ms. It trusts the system's authorities, or
    those in the file that the environment variable `SSL_CERT_FILE` names."""
    return ssl.create_default_context()
