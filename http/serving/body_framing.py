"""A request's body as it comes from the connection: of a known length, or in chunks."""

import sys
from collections.abc import Callable
from typing import BinaryIO

from ...actors.base.cooperation import YieldControl
from . import request_head
from .request_head import Refused

PIECE = 1 << 20  # bytes that are read at once
MAX_LINE = 4096  # bytes of the line before a chunk, or of a trailer
MAX_TRAILERS = 8 << 10  # bytes together
SKIP = 64 << 10  # bytes of a body that nobody wanted, which are read so that the connection goes on
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class MalformedBody(OSError):
    """The body breaks the rules of HTTP: nobody knows where it ends."""


class RequestInput:
    """`wsgi.input`. What is wrong with the body is an `OSError`; then it `is_broken`."""

    def __init__(
        self,
        stream: BinaryIO,
        head: request_head.RequestHead,
        send: Callable[[bytes], object],
        yield_control: YieldControl,
    ) -> None:
        """`send` is for "100 Continue", once the body is wanted."""
        self._stream, self._send, self._yield_control = stream, send, yield_control
        self._is_chunked = head.is_chunked
        self._waits = head.expects_continue and head.has_body
        self._left = head.length or 0  # bytes of the body, or of the chunk at hand
        self._has_begun = False  # with a chunk, whose end is to be read
        self.is_over = not head.has_body
        self.is_broken = False

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, less where the body ends before; all of them without one."""
        return self._take(self._stream.read, size, is_line=False)

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self._stream.readline, size, is_line=True)

    @property
    def may_be_skipped(self) -> bool:
        """What is left of it is little, and comes without being asked for."""
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
                    raise MalformedBody("the connection ended within it")
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
        """Whether something is left to read; at the end of a chunk it looks for the next one."""
        if self.is_broken:
            raise MalformedBody("it was broken before")
        if self._waits:
            self._waits = False
            self._send(CONTINUE)
        if self._is_chunked and not self._left and not self.is_over:
            self._next_chunk()
        return not self.is_over

    def _next_chunk(self) -> None:
        if self._has_begun and self._stream.read(2) != b"\r\n":
            raise Refused(400, "a chunk must end where its size says, in CR LF")
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
                raise Refused(400, "the trailers are too many")
