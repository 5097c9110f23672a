"""Reads a request body from the connection: by Content-Length or chunked."""

import sys
from time import monotonic

from ...actors.base.cooperation import YieldControl
from . import request_head
from .client_connection import ClientConnection
from .request_head import Refused

BODY_S = 60.0  # without a byte of the body received
MAX_LINE = 4096  # bytes of a chunk-size line or a trailer line
MAX_TRAILERS = 8 << 10  # bytes, all trailers together
SKIP = 64 << 10  # bytes of an unread body that are drained to keep the connection usable
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class MalformedBody(OSError):
    """The body violates HTTP framing, so its end is unknown."""


class RequestBody:
    """The body of one request. If it is bad, `read` raises `OSError` and sets `is_broken`."""

    __slots__ = (
        "_connection",
        "_has_begun",
        "_is_chunked",
        "_left",
        "_waits",
        "_yield_control",
        "is_broken",
        "is_over",
    )

    def __init__(
        self,
        connection: ClientConnection,
        head: request_head.RequestHead,
        yield_control: YieldControl,
    ) -> None:
        self._connection, self._yield_control = connection, yield_control
        self._is_chunked = head.is_chunked
        self._left = head.length or 0  # bytes left of the body or current chunk
        self._has_begun = False  # a chunk was begun; its CR LF must be read next
        self.is_over = not (head.is_chunked or self._left)
        self._waits = head.expects_continue and not self.is_over
        self.is_broken = False

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the body; all that remain by default."""
        if self.is_over and not self.is_broken:
            return b""
        limit = sys.maxsize if size is None or size < 0 else size
        parts: list[bytes] = []
        try:
            while limit and self._is_ahead():
                self._yield_control()
                part = self._connection.some(min(self._left, limit), monotonic() + BODY_S)
                if not part:
                    raise MalformedBody("the connection closed before the end of the body")
                parts.append(part)
                limit -= len(part)
                self._left -= len(part)
                self.is_over = not (self._left or self._is_chunked)
        except Refused as refused:
            self.is_broken = True
            raise MalformedBody(refused.reason) from None
        except OSError:
            self.is_broken = True
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def may_be_skipped(self) -> bool:
        """Whether the unread part is small and will arrive without "100 Continue"."""
        return not (self.is_broken or self._waits or self._is_chunked) and self._left <= SKIP

    # --- pieces ---------------------------------------------------------------------------------

    def _is_ahead(self) -> bool:
        """Whether more is left to read; reads the next chunk's size at the end of a chunk."""
        if self.is_broken:
            raise MalformedBody("the body was already found malformed")
        if self._waits:
            self._waits = False
            self._connection.send(CONTINUE, BODY_S)
        if self._is_chunked and not self._left and not self.is_over:
            self._next_chunk()
        return not self.is_over

    def _next_chunk(self) -> None:
        if self._has_begun and self._connection.read(2, monotonic() + BODY_S) != b"\r\n":
            raise Refused(400, "a chunk must end in CR LF, after as many bytes as its size says")
        self._left = request_head.chunk_size(self._line())
        self._has_begun = True
        if not self._left:
            self._read_trailers()
            self.is_over = True

    def _read_trailers(self) -> None:
        left = MAX_TRAILERS
        while (line := self._line()) != b"\r\n":
            request_head.check_trailer(line)
            left -= len(line)
            if left < 0:
                raise Refused(400, "the trailers are too long")

    def _line(self) -> bytes:
        return self._connection.line(MAX_LINE, monotonic() + BODY_S)
