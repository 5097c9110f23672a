"""A request as it is passed on: what a proxy must change in its head, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from ...actors.executors.transport import Target
from ...actors.fleet.server_request import address_of
from ...actors.fleet.signature import HEADER, Seal
from ..requests.exchange import Exchange

HOP = "X-Queue-Hop"
NOT_LEADING = "X-Queue-Not-Leading"  # of an answer: the request was not carried out
SMALL = 256 << 10  # bytes of a body that is kept, so that it can be sent again
_OWN = frozenset({HOP.lower(), HEADER.lower(), "content-length", "expect"})
# What belongs to one connection.
_PER_CONNECTION = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_HANDSHAKE = (("Connection", "Upgrade"), ("Upgrade", "websocket"))


class ArrivingBody(Protocol):
    """The body of a request that is arriving."""

    is_over: bool

    def read(self, size: int = -1, /) -> bytes: ...


class KeptBody:
    """A body that is kept as it is read, to be read again after `rewind`."""

    def __init__(self, body: ArrivingBody) -> None:
        self._body, self._kept, self._at = body, b"", 0

    @property
    def is_over(self) -> bool:
        return self._body.is_over

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes, fewer only at the end of the body; all that remain by default."""
        ahead = len(self._kept) - self._at
        if not 0 <= size <= ahead:
            self._kept += self._body.read(-1 if size < 0 else size - ahead)
        start, most = self._at, len(self._kept)
        self._at = most if size < 0 else min(start + size, most)
        return self._kept[start : self._at]

    def rewind(self) -> None:
        self._at = 0


class PassedRequest(Struct, frozen=True):
    """A request to pass on. `target` is as received, `length` that of the body, None if it comes
    in chunks or there is none. `is_handshake`: it opens a WebSocket."""

    exchange: Exchange
    target: str
    length: int | None
    is_chunked: bool
    body: ArrivingBody
    is_handshake: bool = False

    @property
    def is_small(self) -> bool:
        """Whether the body is none, or fits into memory."""
        return not self.is_chunked and (self.length or 0) <= SMALL

    def keep_body(self) -> "PassedRequest":
        """The same request, whose body may be read again if it is small."""
        if not self.is_small:
            return self
        body = self.exchange.stream = KeptBody(self.body)
        return replace(self, body=body)

    def rewind(self) -> None:
        """Have the body read from its start, if it is kept."""
        if isinstance(self.body, KeptBody):
            self.body.rewind()

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing, so that it may be sent again."""
        return self.exchange.method in ("GET", "HEAD", "OPTIONS") and self.is_small


class RawTarget(Target):
    """The head of a passed request for `leader`: an address without a path."""

    def __init__(self, request: PassedRequest, leader: str, seal: Seal) -> None:
        exchange = request.exchange
        self.method, self.url = exchange.method, address_of(leader)
        self.origin = (self.url.scheme, self.url.raw_host, self.url.port)
        self._length = request.length
        signed = seal.sign(exchange.address, exchange.method, request.target)
        lines = [
            f"{exchange.method} {request.target} HTTP/1.1",
            *_lines(kept(exchange.headers, _OWN)),
            f"{HOP}: 1",
            f"{HEADER}: {signed}",
        ]
        if "host" not in exchange.headers:
            lines.append(f"Host: {self.url.netloc.decode()}")
        if request.is_handshake:
            lines += _lines(_HANDSHAKE)
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin1")

    @property
    def head_of_pieces(self) -> bytes:
        """The head of a request whose body follows, framed as the client does it."""
        if self._length is None:
            return super().head_of_pieces
        return b"%bContent-Length: %d\r\n\r\n" % (self._head, self._length)


def kept(
    headers: Mapping[str, str], without: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """The headers that are not about one connection, nor in `without`."""
    named = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    dropped = _PER_CONNECTION | without | named
    return ((name, value) for name, value in headers.items() if name not in dropped)


def _lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]
