"""Reads an HTTP/1 answer from a connection; strict about what decides where it ends."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from math import inf

from ..base.receiver import Receiver

MAX_INTERIM = 16  # interim answers (1xx) before the final one
_MAX_HEAD = 64 << 10
_MAX_FIELDS = 100
_MAX_FRAME_LINE = 1 << 10  # a chunk's size and extensions, or a trailer
_PIECE = 64 << 10

_STATUS = re.compile(r"HTTP/1\.(\d) ([1-9]\d\d)(?: [^\0\r]*)?", re.ASCII)
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\0\r]*)")
_HEAD_END = re.compile(rb"\n\r?\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r]*)?")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_LAST_CHUNK = b"0\r\n\r\n"  # without trailers
_BLANKS = " \t"
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class ConnectionClosed(ConnectionError):
    """The connection closed before the first byte of an answer."""


class MalformedResponse(Exception):
    """The answer is malformed or incomplete: it is unknown where it ends."""


class Incoming:
    """A buffered reader of one connection.

    Bytes that were received and not read stay here, from some place of `held` on: they belong to
    no answer. `due` is when the current wait is too long; whoever watches that ends it with
    `run_late` and a shutdown.
    """

    def __init__(self, sock: socket.socket, silence_s: float, receiver: Receiver) -> None:
        sock.settimeout(None)
        self.socket, self._silence_s, self.receiver = sock, silence_s, receiver
        self._read: Callable[[int], bytes] = receiver.receive
        self.held, self._at = b"", 0  # received; read up to this place
        self._deadline: float | None = None
        self.due, self._is_late = inf, False

    def wait_at_most(self, seconds: float | None) -> None:
        """Limit all further reads to `seconds` in total; None: `silence_s` for each read."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def hurry(self, seconds: float | None) -> None:
        """Limit each read to so few seconds that only the socket can; None: no longer."""
        self.socket.settimeout(seconds)
        self._read = self.receiver.receive if seconds is None else self.socket.recv

    def run_late(self) -> None:
        """Have the current wait end with `TimeoutError`, once the socket is shut down."""
        self.due, self._is_late = inf, True

    def send(self, message: bytes) -> None:
        self.due = time.monotonic() + self._silence_s
        try:
            sent = self.socket.send(message)
            if sent < len(message):
                self.socket.sendall(memoryview(message)[sent:])
        except OSError:
            if self._is_late:
                raise TimeoutError from None
            raise
        finally:
            self.due = inf

    def is_quiet(self) -> bool:
        """Whether nothing unexpected has arrived, including the end of the connection."""
        if self.held:
            return False
        self.socket.settimeout(0)
        try:
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(None)
        return False

    def has_begun(self) -> bool:
        """Wait for the first byte; False if the connection ends without one."""
        return bool(self.held) or self._more()

    def arrived(self) -> bytes:
        """What has arrived, at least one byte; none at the end of the connection."""
        if not self.held:
            return self.receive()
        return self._take(len(self.held) - self._at)

    def put_back(self, data: bytes) -> None:
        """Read again the last bytes of what `arrived` returned."""
        self.held, self._at = data, 0

    def some(self, most: int) -> bytes:
        """Between one and `most` bytes; none at the end of the connection."""
        if not self.held:
            data = self.receive()
            if len(data) <= most:
                return data
            self.held = data
        return self._take(most)

    def line(self) -> bytes:
        """The next line of a body's frame, without its line feed."""
        while (end := self.held.find(b"\n", self._at)) < 0:
            if len(self.held) - self._at > _MAX_FRAME_LINE:
                break
            if not self._more():
                raise MalformedResponse("the answer was cut short")
        if not 0 <= end - self._at <= _MAX_FRAME_LINE:
            message = f"a line of the answer's frame is longer than {_MAX_FRAME_LINE} bytes"
            raise MalformedResponse(message)
        return self._take(end + 1 - self._at)[:-1]

    def head(self) -> list[str]:
        """The lines of a head, without their ends and the empty line."""
        seen = self._at
        while (end := _HEAD_END.search(self.held, seen)) is None:
            self._check_start()
            seen = max(len(self.held) - 2, self._at) - self._at
            if not self._more():
                raise MalformedResponse("the answer was cut short")
            seen += self._at
        text = self._take(end.end() - self._at).decode("latin1")
        lines = [line.removesuffix("\r") for line in text.split("\n")[:-2]]
        if len(text) > _MAX_HEAD or len(lines) > _MAX_FIELDS + 1:
            raise MalformedResponse("the answer's head is too long")
        return lines

    def _check_start(self) -> None:
        """Refuse at once what is not the start of a head, or too long for one."""
        first, ends, _ = self.held[self._at :].partition(b"\n")
        if ends:
            status_of(first.removesuffix(b"\r").decode("latin1"))
        if len(self.held) - self._at > _MAX_HEAD:
            raise MalformedResponse("the answer's head is too long")

    def _take(self, size: int) -> bytes:
        start = self._at
        end = self._at = start + size
        data = self.held[start:end]
        if end >= len(self.held):
            self.held, self._at = b"", 0
        return data

    def _more(self) -> bool:
        data = self.receive()
        self.held, self._at = self.held[self._at :] + data, 0
        return bool(data)

    def receive(self) -> bytes:
        """New bytes; none at the end of the connection. Nothing must be held."""
        now = time.monotonic()
        self.due = now + self._silence_s if self._deadline is None else self._deadline
        if self.due <= now:
            raise TimeoutError
        try:
            data = self._read(_PIECE)
        except OSError:
            if self._is_late:
                raise TimeoutError from None
            raise
        finally:
            self.due = inf
        if self._is_late:
            raise TimeoutError
        return data


def status_of(line: str) -> tuple[int, int]:
    """The minor version and the status of a status line."""
    status = _STATUS.fullmatch(line)
    if status is None:
        raise MalformedResponse(f"not an HTTP answer: {line[:80]!r}")
    return int(status[1]), int(status[2])


class HttpResponse:
    """One answer: the head is read on creation, then the body piece by piece.

    Interim answers (1xx) are skipped. `headers` are by lower-case name, several of one name joined.
    `pieces` is the body, each piece as it arrives and none of them empty.
    `end` is what its last bytes most often are, empty if nothing marks its end.
    Raises `ConnectionClosed`, `MalformedResponse` or `OSError`.
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
        self.is_whole = False  # whether it was read to its end
        self.end = b""
        self.pieces = self._body(method)

    @property
    def leaves_warm(self) -> bool:
        """Whether the connection can carry another request."""
        return self.is_whole and self._stays

    def _read_head(self) -> None:
        first, *lines = self._incoming.head()
        self._minor, self.status = status_of(first)
        self.headers: dict[str, str] = {}
        name = ""
        for line in lines:
            field = _FIELD.fullmatch(line)
            if field is not None:
                name, value = field[1].lower(), field[2].strip(_BLANKS)
                before = self.headers.get(name)
                self.headers[name] = value if before is None else f"{before}, {value}"
            elif line[:1] in (" ", "\t") and name and "\0" not in line and "\r" not in line:
                self.headers[name] += f" {line.strip(_BLANKS)}"  # obsolete line folding
            else:
                raise MalformedResponse(f"not a header: {line[:80]!r}")

    def _values(self, name: str) -> list[str]:
        """The elements of the header called `name`, in lower case."""
        header = self.headers.get(name)
        if header is None:
            return []
        return [word for each in header.lower().split(",") if (word := each.strip(_BLANKS))]

    def _body(self, method: str) -> Iterator[bytes]:
        lengths, codings = set(self._values("content-length")), self._values("transfer-encoding")
        connection = self._values("connection")
        self._stays = "close" not in connection and (self._minor > 0 or "keep-alive" in connection)
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise MalformedResponse("the answer's Content-Length is not one number")
        if codings not in ([], ["identity"], ["chunked"]):
            raise MalformedResponse("the answer's Transfer-Encoding is not chunked")
        if method == "HEAD" or self.status in (204, 304):
            return self._sized(0)
        if codings == ["chunked"]:
            # With a Content-Length as well, or in HTTP/1.0, others may see the end elsewhere.
            self._stays = self._stays and self._minor > 0 and not lengths
            self.end = _LAST_CHUNK
            return self._chunked()
        if lengths:
            return self._sized(int(lengths.pop()))
        self._stays = False
        return self._to_the_end()

    def _to_the_end(self) -> Iterator[bytes]:
        while piece := self._incoming.some(_PIECE):
            yield piece
        self.is_whole = True

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece
        self.is_whole = True

    def _chunked(self) -> Iterator[bytes]:
        incoming = self._incoming
        while True:
            data = incoming.arrived() if incoming.held else incoming.receive()
            plain = _PLAIN_SIZE.match(data)
            if plain is not None:
                begin, size = plain.end(), int(plain[1], 16)
                if size and begin + size + 2 == len(data) and data.endswith(b"\r\n"):
                    yield data[begin:-2]  # most often a read brings one chunk
                    continue
            bodies = self._whole_chunks(data)
            if bodies:
                yield b"".join(bodies)
                if not incoming.held:
                    continue
            left = self._chunk_size()
            if not left:
                break
            while left:
                piece = self._some(left)
                left -= len(piece)
                yield piece
            if self._frame_line():
                raise MalformedResponse("a chunk of the answer is longer than it says")
        for _ in range(_MAX_FIELDS):
            if not self._frame_line():
                self.is_whole = True
                return
        raise MalformedResponse("the trailers of the answer are too long")

    def _whole_chunks(self, data: bytes) -> list[bytes]:
        """The chunks that arrived whole. What is left of `data` is to be read again."""
        bodies, at = [], 0
        while plain := _PLAIN_SIZE.match(data, at):
            begin = plain.end()
            end = begin + int(plain[1], 16)
            if end == begin or data[end : end + 2] != b"\r\n":
                break
            bodies.append(data[begin:end])
            at = end + 2
        self._incoming.put_back(data[at:])
        return bodies

    def _some(self, left: int) -> bytes:
        piece = self._incoming.some(left)
        if not piece:
            raise MalformedResponse("the answer was cut short")
        return piece

    def _chunk_size(self) -> int:
        size = _SIZE.fullmatch(self._frame_line())
        if size is None:
            raise MalformedResponse("the size of a chunk of the answer is not a number")
        return int(size[1], 16)

    def _frame_line(self) -> bytes:
        line = self._incoming.line()
        if not line.endswith(b"\r"):
            raise MalformedResponse("a chunk of the answer is not framed by CR LF")
        return line[:-1]
