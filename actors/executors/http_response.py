"""Reads an HTTP/1 answer from a connection; strict about what decides where it ends."""

import re
import socket
import ssl
import time
from collections.abc import Iterator

MAX_INTERIM = 16  # interim answers (1xx) before the final one
_MAX_HEAD = 64 << 10
_MAX_FIELDS = 100
_MAX_FRAME_LINE = 1 << 10  # a chunk's size and extensions, or a trailer
_PIECE = 64 << 10

_STATUS = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: ([^\0\r]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\0\r]*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r]*)?")
_LENGTH = re.compile(rb"\d{1,18}")


class ConnectionClosed(ConnectionError):
    """The connection closed before the first byte of an answer."""


class MalformedResponse(Exception):
    """The answer is malformed or incomplete: it is unknown where it ends."""


class Incoming:
    """A buffered reader of one connection.

    Bytes that were received and not read stay here: they belong to no answer.
    """

    def __init__(self, sock: socket.socket, silence_s: float) -> None:
        self.socket, self._silence_s = sock, silence_s
        self._held = bytearray()
        self._deadline: float | None = None

    def wait_at_most(self, seconds: float | None) -> None:
        """Limit all further reads to `seconds` in total; None: `silence_s` for each read."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def is_quiet(self) -> bool:
        """Whether nothing unexpected has arrived, including the end of the connection."""
        if self._held:
            return False
        self.socket.settimeout(0)
        try:
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def has_begun(self) -> bool:
        """Wait for the first byte; False if the connection ends without one."""
        return bool(self._held) or self._more()

    def some(self, most: int) -> bytes:
        """Between one and `most` bytes; none at the end of the connection."""
        if not self._held:
            return self._receive(min(most, _PIECE))
        piece = bytes(self._held[:most])
        del self._held[:most]
        return piece

    def line(self, limit: int) -> bytes:
        """The next line without its line feed, at most `limit` bytes long."""
        looked = 0
        while (end := self._held.find(b"\n", looked)) < 0:
            looked = len(self._held)
            if looked > limit:
                break
            if not self._more():
                raise MalformedResponse("the answer was cut short")
        if not 0 <= end <= limit:
            raise MalformedResponse(f"a line of the answer's frame is longer than {limit} bytes")
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def _more(self) -> bool:
        data = self._receive(_PIECE)
        self._held += data
        return bool(data)

    def _receive(self, most: int) -> bytes:
        left = self._silence_s
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
        self.socket.settimeout(left)
        return self.socket.recv(most)


class HttpResponse:
    """One answer: the head is read on creation, then the body piece by piece.

    Interim answers (1xx) are skipped. Raises `ConnectionClosed`, `MalformedResponse` or
    `OSError`.
    """

    def __init__(self, incoming: Incoming, method: str) -> None:
        self._incoming = incoming
        try:
            has_begun = incoming.has_begun()
        except ConnectionError as error:
            raise ConnectionClosed(str(error.strerror or error)) from error
        if not has_begun:
            raise ConnectionClosed
        for _ in range(MAX_INTERIM + 1):
            self._read_head()
            if not 100 <= self.status < 200:
                break
            if self.status == 101:
                raise MalformedResponse("the server switched to another protocol unasked")
        else:
            raise MalformedResponse(f"more than {MAX_INTERIM} interim answers")
        self._pieces = self._body(method)
        self._is_whole = False

    @property
    def leaves_warm(self) -> bool:
        """Whether it was read to its end and the connection stays open for another request."""
        return self._is_whole and self._stays

    def read(self) -> bytes:
        """The next piece of the body; empty at its end."""
        return next(self._pieces, b"")

    def _read_head(self) -> None:
        line = self._incoming.line(_MAX_HEAD).removesuffix(b"\r")
        status = _STATUS.fullmatch(line)
        if status is None:
            raise MalformedResponse(f"not an HTTP answer: {line[:80].decode('latin-1')!r}")
        self._version = int(status[1])
        self.status, self.reason = int(status[2]), (status[3] or b"").strip()
        self.headers: list[tuple[bytes, bytes]] = []
        left = _MAX_HEAD
        while line := self._incoming.line(left).removesuffix(b"\r"):
            left -= len(line)
            if len(self.headers) == _MAX_FIELDS or left <= 0:
                raise MalformedResponse("the answer's head is too long")
            self._take_field(line)

    def _take_field(self, line: bytes) -> None:
        field = _FIELD.fullmatch(line)
        if field is not None:
            self.headers.append((field[1], field[2].strip(b" \t")))
        elif line[:1] in b" \t" and self.headers and not {0, 13} & set(line):
            name, value = self.headers.pop()  # obsolete line folding
            self.headers.append((name, value + b" " + line.strip()))
        else:
            raise MalformedResponse(f"not a header: {line[:80].decode('latin-1')!r}")

    def _values(self, name: bytes) -> list[bytes]:
        """The elements of all headers called `name`, in lower case."""
        lines = b",".join(value for each, value in self.headers if each.lower() == name)
        return [value.strip().lower() for value in lines.split(b",") if value.strip()]

    def _body(self, method: str) -> Iterator[bytes]:
        lengths, codings = set(self._values(b"content-length")), self._values(b"transfer-encoding")
        connection = self._values(b"connection")
        self._stays = b"close" not in connection and (
            self._version > 0 or b"keep-alive" in connection
        )
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise MalformedResponse("the answer's Content-Length is not one number")
        if codings not in ([], [b"identity"], [b"chunked"]):
            raise MalformedResponse("the answer's Transfer-Encoding is not chunked")
        if method == "HEAD" or self.status in (204, 304):
            return self._ended(iter(()))
        if codings == [b"chunked"]:
            # With a Content-Length as well, or in HTTP/1.0, others may see the end elsewhere.
            self._stays = self._stays and self._version > 0 and not lengths
            return self._ended(self._chunked())
        if lengths:
            return self._ended(self._sized(int(lengths.pop())))
        self._stays = False
        return self._ended(iter(lambda: self._incoming.some(_PIECE), b""))

    def _ended(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from pieces
        self._is_whole = True

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._incoming.some(left)
            if not piece:
                raise MalformedResponse("the answer was cut short")
            left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._sized(size)
            if self._frame_line():
                raise MalformedResponse("a chunk of the answer is longer than it says")
        for _ in range(_MAX_FIELDS):
            if not self._frame_line():
                return
        raise MalformedResponse("the trailers of the answer are too long")

    def _chunk_size(self) -> int:
        size = _SIZE.fullmatch(self._frame_line())
        if size is None:
            raise MalformedResponse("the size of a chunk of the answer is not a number")
        return int(size[1], 16)

    def _frame_line(self) -> bytes:
        line = self._incoming.line(_MAX_FRAME_LINE)
        if not line.endswith(b"\r"):
            raise MalformedResponse("a chunk of the answer is not framed by CR LF")
        return line[:-1]
