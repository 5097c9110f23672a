"""Parses a request's head strictly: anything that two parsers could read differently is rejected.

If a proxy and the server disagree on where a request ends, one client's bytes can run as another's
request (request smuggling). So a body's end can be given in one way only, and lines end in CR LF.
Pure: bytes in, a `RequestHead` or `Refused` out.
"""

import re

from msgspec import Struct

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
_REQUEST = rf"({_TOKEN}) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])\r\n"
_FIELD = rf"{_TOKEN}:{_VALUE}\r\n"
_HEAD = re.compile(rf"{_REQUEST}((?:{_FIELD})*)\r\n")
_FIRST_LINE, _ONE_FIELD = re.compile(_REQUEST), re.compile(_FIELD)
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_HOST = re.compile(
    r"(?:\[(?:[0-9A-Fa-f:.]{2,45}(?:%25[\w.~-]{1,32})?)\]|[\w.~!$&'()*+;=%-]{0,255})(?::[0-9]{0,5})?",
    re.ASCII,
)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
# Each may appear once, under no other name.
_FRAMING = ("content-length", "transfer-encoding")


class Refused(Exception):
    """The request is rejected and its connection closed, since its end is unknown.

    `status` is the HTTP status, `reason` one sentence.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class RequestHead(Struct, frozen=True):
    """A parsed head. Text is Latin-1, as in WSGI."""

    method: str
    target: str  # in origin form: `/path?query`, or `*`
    minor: int  # of the version: 0 for HTTP/1.0, 1 for HTTP/1.1
    headers: dict[str, str]  # by lower-case name; names with a `_` are dropped
    length: int | None  # bytes of the body, None if not given
    is_chunked: bool
    keeps_alive: bool  # the client wants to reuse the connection
    expects_continue: bool  # it sends the body after "100 Continue"


def parse(raw: bytes) -> RequestHead:
    """Parse a head, from the request line to the empty line. Raises `Refused`."""
    text = raw.decode("latin1")
    matched = _HEAD.fullmatch(text)
    if matched is None:
        raise _refusal(text)
    method, target, major, minor_digit, fields = matched.groups()
    if major != "1":
        raise Refused(505, "the server supports HTTP/1.1 only")
    minor = 0 if minor_digit == "0" else 1
    headers = _headers(fields)
    if "host" in headers:
        _check_host(headers["host"])
    elif minor == 1:
        raise Refused(400, "the request must have exactly one Host header")
    if not target.startswith("/"):
        target = _origin_form(method, target, headers)
    length, is_chunked = _framing(headers, minor)
    keeps_alive = minor == 1
    if "connection" in headers:
        tokens = words(headers["connection"])
        keeps_alive = "close" not in tokens and (keeps_alive or "keep-alive" in tokens)
    expects_continue = "expect" in headers and _expects(headers["expect"], minor)
    return RequestHead(
        method, target, minor, headers, length, is_chunked, keeps_alive, expects_continue
    )


def words(value: str) -> list[str]:
    """The comma-separated words of a header, in lower case."""
    return [word for each in value.lower().split(",") if (word := each.strip(" \t"))]


def _refusal(text: str) -> Refused:
    """Why a head is malformed."""
    first = _FIRST_LINE.match(text)
    if first is None:
        return Refused(400, "the request line must be METHOD TARGET HTTP/1.1")
    at = first.end()
    while (field := _ONE_FIELD.match(text, at)) is not None:
        at = field.end()
    if text[at] in " \t":
        return Refused(400, "a header must be one line")
    return Refused(400, "a header must be NAME: VALUE, without control characters")


def _headers(fields: str) -> dict[str, str]:
    """The headers of these lines; several of one name are joined."""
    headers: dict[str, str] = {}
    for line in fields.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            value = _joined(name, headers[name], value)
        elif "_" in name:
            # A proxy or a CGI program could take it for the name with dashes.
            if name.replace("_", "-") in _FRAMING:
                raise Refused(400, f"{name} is not a header: its name has dashes")
            continue
        headers[name] = value
    return headers


def _joined(name: str, first: str, second: str) -> str:
    if name == "host":
        raise Refused(400, "the request must have exactly one Host header")
    if name in _FRAMING:
        raise Refused(400, "Content-Length and Transfer-Encoding may each appear only once")
    return f"{first}{'; ' if name == 'cookie' else ','}{second}"


def _origin_form(method: str, target: str, headers: dict[str, str]) -> str:
    """The target as a path. The host of a URL replaces the header's."""
    if target == "*" and method == "OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "the request's target must be a path that begins with /, or a URL")
    authority, rest = absolute.groups()
    if "@" in authority:
        raise Refused(400, "the request's target must not name a user")
    _check_host(authority)
    headers["host"] = authority
    return rest if rest.startswith("/") else f"/{rest}"


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise Refused(400, "Host must be a name or address and an optional port")


def _framing(headers: dict[str, str], minor: int) -> tuple[int | None, bool]:
    """How long the body is, and whether it comes in chunks."""
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is None:
        if length is None:
            return None, False
        if not _LENGTH.fullmatch(length):
            raise Refused(400, "Content-Length must be a whole number")
        return int(length), False
    if length is not None or minor == 0:
        raise Refused(400, "Transfer-Encoding requires HTTP/1.1 and excludes Content-Length")
    coding = coding.lower()
    if any(each.strip(" \t") not in ("chunked", "") for each in coding.split(",")):
        raise Refused(501, "the only supported Transfer-Encoding is chunked")
    if coding != "chunked":
        raise Refused(400, "Transfer-Encoding must be chunked, once")
    return None, True


def _expects(value: str, minor: int) -> bool:
    wishes = words(value) if minor else []
    if any(wish != "100-continue" for wish in wishes):
        raise Refused(417, "the only supported Expect is 100-continue")
    return bool(wishes)


# --- chunks -------------------------------------------------------------------------------------

_QUOTED = r"\"(?:[^\x00-\x08\x0a-\x1f\x7f\"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*\""
_EXTENSION = rf"[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_TOKEN}|{_QUOTED}))?"
_SIZE = re.compile(rf"([0-9A-Fa-f]{{1,15}})(?:{_EXTENSION})*\r\n")


def chunk_size(line: bytes) -> int:
    """The size in bytes that a chunk's first line gives, CR LF included. Raises `Refused`."""
    matched = _SIZE.fullmatch(line.decode("latin1"))
    if matched is None:
        raise Refused(400, "a chunk must begin with its size in hexadecimal digits")
    return int(matched[1], 16)


def check_trailer(line: bytes) -> None:
    """Check a trailer line, CR LF included. Its value is ignored. Raises `Refused`."""
    if not _ONE_FIELD.fullmatch(line.decode("latin1")):
        raise Refused(400, "a trailer must be NAME: VALUE")
