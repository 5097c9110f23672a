"""Reads a request body from the connection: by Content-Length or chunked."""

import sys
from collections.abc import Callable
from typing import BinaryIO

from ...actors.base.cooperation import YieldControl
from . import request_head
from .request_head import Refused

PIECE = 1 << 20  # bytes per read
MAX_LINE = 4096  # bytes of a chunk-size line or a trailer line
MAX_TRAILERS = 8 << 10  # bytes, all trailers together
SKIP = 64 << 10  # bytes of an unread body that are drained to keep the connection usable
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class MalformedBody(OSError):
    """The body violates HTTP framing, so its end is unknown."""


class RequestInput:
    """`wsgi.input`. A bad body raises `OSError` and sets `is_broken`."""

    def __init__(
        self,
        stream: BinaryIO,
        head: request_head.RequestHead,
        send: Callable[[bytes], object],
        yield_control: YieldControl,
    ) -> None:
        """`send` writes "100 Continue" on the first read."""
        self._stream, self._send, self._yield_control = stream, send, yield_control
        self._is_chunked = head.is_chunked
        self._waits = head.expects_continue and head.has_body
        self._left = head.length or 0  # bytes left of the body or current chunk
        self._has_begun = False  # a chunk was begun; its CR LF must be read next
        self.is_over = not head.has_body
        self.is_broken = False

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the body; all that remain by default."""
        return self._take(self._stream.read, size, is_line=False)

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self._stream.readline, size, is_line=True)

    @property
    def may_be_skipped(self) -> bool:
        """Whether the unread part is small and will arrive without "100 Continue"."""
        return not (self.is_broken or self._waits or self._is_chunked) and self._left <= SKIP

    # --- pieces ---------------------------------------------------------------------------------

    def _take(self, take: Callable[[int], bytes], size: int | None, *, is_line: bool) -> bytes:
        limit = sys.maxsize if size is None or size < 0 else size
        parts: list[bytes] = []
        try:
            while limit and self._is_ahead():
                self._yield_control()
                part = take(min(self._left, limit, PIECE))
                if not part:
                    raise MalformedBody("the connection closed before the end of the body")
                parts.append(part)
                limit -= len(part)
                self._left -= len(part)
                self.is_over = not (self._left or self._is_chunked)
                if is_line and part.endswith(b"\n"):
                    break
        except Refused as refused:
            self.is_broken = True
            raise MalformedBody(refused.reason) from None
        except OSError:
            self.is_broken = True
            raise
        return b"".join(parts)

    def _is_ahead(self) -> bool:
        """Whether more is left to read; reads the next chunk's size at the end of a chunk."""
        if self.is_broken:
            raise MalformedBody("the body was already found malformed")
        if self._waits:
            self._waits = False
            self._send(CONTINUE)
        if self._is_chunked and not self._left and not self.is_over:
            self._next_chunk()
        return not self.is_over

    def _next_chunk(self) -> None:
        if self._has_begun and self._stream.read(2) != b"\r\n":
            raise Refused(400, "a chunk must end in CR LF, after as many bytes as its size says")
        self._left = request_head.chunk_size(self._stream.readline(MAX_LINE))
        self._has_begun = True
        if not self._left:
            self._read_trailers()
            self.is_over = True

    def _read_trailers(self) -> None:
        left = MAX_TRAILERS
        while (line := self._stream.readline(MAX_LINE)) != b"\r\n":
            request_head.check_trailer(line)
            left -= len(line)
            if left < 0:
                raise Refused(400, "the trailers are too long")
