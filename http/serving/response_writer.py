"""Writes responses: the head and a body, or its first piece, in one `send`."""

import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from .client_connection import ClientConnection

_EMPTY = (204, 304)  # statuses of responses without a body
_STATUS = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}

Headers = Iterable[tuple[str, str]]
"""Names and values, in Latin-1 as in WSGI."""


class ResponseWriter:
    """One response. `patience_s`: for a client that does not read it."""

    __slots__ = (
        "_connection",
        "_is_chunked",
        "_is_http_1_0",
        "_unsent",
        "closes",
        "has_begun",
        "patience_s",
    )

    def __init__(self, connection: ClientConnection, minor: int, closes: bool, patience_s: float):
        self._connection, self._is_http_1_0 = connection, minor == 0
        self._is_chunked = minor > 0  # what is sent piece by piece
        self.closes = closes  # whether the connection is closed behind it
        self.patience_s = patience_s
        self.has_begun = False
        self._unsent = b""  # the rest of a piece that could not be sent at once

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete response."""
        length = "" if status in _EMPTY else f"Content-Length: {len(body)}\r\n"
        self._send(self.head(status, headers, length) + body)

    def send_head(self, status: int, headers: Headers) -> None:
        """Send the response to a HEAD request, whose headers are complete."""
        self._send(self.head(status, headers, ""))

    def send_pieces(self, status: int, headers: Headers, pieces: Iterable[bytes]) -> None:
        """Send a response piece by piece: in chunks, unless its headers say how long it is.

        The head goes with the first piece that is not empty.
        """
        headers = list(headers)
        if any(name.lower() == "content-length" for name, _ in headers):
            self._is_chunked = False  # proxies refuse a response that is both
        elif not self._is_chunked:
            self.closes = True  # the end of the connection is that of the body
        parts = iter(pieces)
        first = next(filter(None, parts), b"")
        framing = "Transfer-Encoding: chunked\r\n" if self._is_chunked else ""
        head = self.head(status, headers, framing)
        self._send(head + self._framed(first) if first else head)
        for part in parts:
            if part:
                self._send(self._framed(part))
            elif self._unsent:
                self._send(b"")
        if self._is_chunked:
            self._send(b"0\r\n\r\n")

    def send_now(self, piece: bytes) -> bool:
        """Send a further piece without waiting, while `send_pieces` waits for the next one.

        Returns False if not all of it could be sent: the rest precedes what is sent next.
        """
        framed = piece if self._is_http_1_0 else b"%x\r\n%b\r\n" % (len(piece), piece)
        unsent = self._unsent = self._connection.send_now(framed)
        return not unsent

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece

    def head(self, status: int, headers: Headers, framing: str) -> bytes:
        lines = [
            _STATUS.get(status) or f"HTTP/1.1 {status} Unknown\r\n",
            f"Date: {_date(int(time.time()))}\r\n",
            *[_line(name, value) for name, value in headers],
            framing,
        ]
        if self.closes:
            lines.append("Connection: close\r\n")
        elif self._is_http_1_0:
            lines.append("Connection: keep-alive\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin1")

    def _send(self, data: bytes) -> None:
        self.has_begun = True
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        self._connection.send(data, self.patience_s)


def _line(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:  # it would be another header, or another response
        raise ValueError(f"the header {name} must be one line")
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
