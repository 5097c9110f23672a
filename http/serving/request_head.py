"""Parses a request's head strictly: anything that two parsers could read differently is rejected.

If a proxy and the server disagree on where a request ends, one client's bytes can run as another's
request (request smuggling). So a body's end can be given in one way only, and lines end in CR LF.
Pure: bytes in, a `RequestHead` or `Refused` out.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(%b) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_HOST = re.compile(
    r"(?:\[(?:[0-9A-Fa-f:.]{2,45}(?:%25[\w.~-]{1,32})?)\]|[\w.~!$&'()*+;=%-]{0,255})(?::[0-9]{0,5})?",
    re.ASCII,
)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


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
    version: str  # "HTTP/1.0" or "HTTP/1.1"
    fields: list[tuple[str, str]]  # names in lower case; names with a `_` are dropped
    length: int | None  # bytes of the body, None if not given
    is_chunked: bool
    keeps_alive: bool  # the client wants to reuse the connection
    expects_continue: bool  # it sends the body after "100 Continue"

    def get(self, name: str) -> str | None:
        """The first value of the field with this lower-case name."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def has_body(self) -> bool:
        return self.is_chunked or bool(self.length)


def parse(raw: bytes) -> RequestHead:
    """Parse a head, from the request line to the empty line. Raises `Refused`."""
    first, *rest = raw.split(b"\r\n")
    method, target, minor = _request_line(first)
    everything = list(_fields(rest[:-2]))
    target, authority = _target(method, target)
    fields = [(name, value) for name, value in everything if "_" not in name]
    fields = _with_host(fields, authority, minor)
    length, is_chunked = _framing(everything, minor)
    tokens = _words(fields, "connection")
    return RequestHead(
        method,
        target,
        f"HTTP/1.{minor}",
        fields,
        length,
        is_chunked,
        keeps_alive="close" not in tokens and (minor == 1 or "keep-alive" in tokens),
        expects_continue=_expects(fields, minor),
    )


def _request_line(line: bytes) -> tuple[str, str, int]:
    matched = _REQUEST.fullmatch(line)
    if matched is None:
        raise Refused(400, "the request line must be METHOD TARGET HTTP/1.1")
    method, target, major, minor = matched.groups()
    if major != b"1":
        raise Refused(505, "the server supports HTTP/1.1 only")
    return method.decode(), target.decode("latin1"), min(int(minor), 1)


def _fields(lines: list[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        matched = _FIELD.fullmatch(line)
        if matched is None:
            if line[:1] in (b" ", b"\t"):
                raise Refused(400, "a header must be one line")
            raise Refused(400, "a header must be NAME: VALUE, without control characters")
        name, value = matched.groups()
        yield name.decode().lower(), value.decode("latin1").rstrip(" \t")


def _target(method: str, target: str) -> tuple[str, str | None]:
    """The target in origin form, and the host of one in absolute form."""
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused(400, "the request's target must be a path that begins with /, or a URL")
    authority, rest = absolute.groups()
    if "@" in authority:
        raise Refused(400, "the request's target must not name a user")
    return (rest if rest.startswith("/") else f"/{rest}"), authority


def _with_host(
    fields: list[tuple[str, str]], authority: str | None, minor: int
) -> list[tuple[str, str]]:
    """The fields with the effective host: the target's takes precedence over the header's."""
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) > 1 or (not hosts and minor == 1):
        raise Refused(400, "the request must have exactly one Host header")
    for host in (*hosts, authority or ""):
        if not _HOST.fullmatch(host):
            raise Refused(400, "Host must be a name or address and an optional port")
    if authority is None:
        return fields
    return [("host", authority), *(field for field in fields if field[0] != "host")]


def _framing(fields: list[tuple[str, str]], minor: int) -> tuple[int | None, bool]:
    """How long the body is, and whether it comes in chunks."""
    names = [name.replace("_", "-") for name, _ in fields]
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
    if names.count("content-length") > 1 or names.count("transfer-encoding") > 1:
        raise Refused(400, "Content-Length and Transfer-Encoding may each appear only once")
    if not codings:
        if lengths and not _LENGTH.fullmatch(lengths[0]):
            raise Refused(400, "Content-Length must be a whole number")
        return (int(lengths[0]) if lengths else None), False
    if lengths or minor == 0:
        raise Refused(400, "Transfer-Encoding requires HTTP/1.1 and excludes Content-Length")
    if any(each.strip(" \t") not in ("chunked", "") for each in codings[0].split(",")):
        raise Refused(501, "the only supported Transfer-Encoding is chunked")
    if codings[0] != "chunked":
        raise Refused(400, "Transfer-Encoding must be chunked, once")
    return None, True


def _expects(fields: list[tuple[str, str]], minor: int) -> bool:
    wishes = _words(fields, "expect") if minor else []
    if any(wish != "100-continue" for wish in wishes):
        raise Refused(417, "the only supported Expect is 100-continue")
    return bool(wishes)


def _words(fields: list[tuple[str, str]], name: str) -> list[str]:
    """The comma-separated tokens of all fields with this name, in lower case."""
    values = ",".join(value for key, value in fields if key == name)
    return [word for each in values.lower().split(",") if (word := each.strip(" \t"))]


# --- chunks -------------------------------------------------------------------------------------

_QUOTED = rb"\"(?:[^\x00-\x08\x0a-\x1f\x7f\"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*\""
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*\r\n" % _EXTENSION)


def chunk_size(line: bytes) -> int:
    """The size in bytes that a chunk's first line gives, CR LF included. Raises `Refused`."""
    matched = _SIZE.fullmatch(line)
    if matched is None:
        raise Refused(400, "a chunk must begin with its size in hexadecimal digits")
    return int(matched[1], 16)


def check_trailer(line: bytes) -> None:
    """Check a trailer line, CR LF included. Its value is ignored. Raises `Refused`."""
    if not line.endswith(b"\r\n") or not _FIELD.fullmatch(line[:-2]):
        raise Refused(400, "a trailer must be NAME: VALUE")
