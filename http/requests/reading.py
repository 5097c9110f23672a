"""Reading requests: bodies, queries, and one clear sentence for what is wrong in them."""

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import bottle

from ...actors.base.cooperation import YieldControl, cooperatively, never_yield
from ...actors.core.intake import filters
from ...actors.core.intake.filters import FIELDS, REPEATABLE
from ...actors.core.model.errors import Invalid
from ...actors.core.model.task_filter import TaskFilter
from ...actors.core.text import strict_json
from ...actors.core.text.json_weight import weigh
from .. import wire
from .decompression import CODINGS, unpacked

PIECE = 256 << 10  # bytes of a batch that are read at once
YIELD_CONTROL = "ollama_queue.yield_control"  # in the environ: how the request in hand gives way


def body(limit: int) -> Any:
    """The request's JSON. Raises `TooLarge` before reading, `Invalid` for what is not JSON."""
    return decode(b"".join(pieces(limit)), "the body", "body", current_yield_control())


def decode(raw: bytes, what: str, field: str, yield_control: YieldControl) -> Any:
    """The JSON of `raw`. Raises `Invalid` with a sentence about `what`, before decoding where it
    holds too many values."""
    for _ in cooperatively(weigh(raw, what, field), yield_control):
        pass
    value = strict_json.decode(raw, what, field)
    yield_control()
    return value


def json_object(limit: int) -> dict[str, Any]:
    """The request's JSON, which is an object. Raises as `body` does."""
    value = body(limit)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object", field="body")
    return value


def pieces(limit: int) -> Iterator[bytes]:
    """The body as it comes, decompressed. Raises `TooLarge` as soon as it is (both ways), `Invalid`
    for one that does not come whole and well, `UnknownCoding`."""
    coding, stream, read = _coding(), body_stream(limit), 0
    packed = iter(lambda: stream.read(PIECE), b"")
    for piece in cooperatively(
        packed if coding is None else unpacked(packed, coding), current_yield_control()
    ):
        read += len(piece)
        if read > limit:
            raise too_large(limit)
        yield piece


def _coding() -> str | None:
    coding = (header("Content-Encoding") or "").strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        known = " or ".join(CODINGS)
        raise wire.UnknownCoding(
            f"Content-Encoding {coding[:50]} is not taken: send {known}, or the body as it is",
            field="Content-Encoding",
        )
    return coding


class Body:
    """A request's body, not yet read. One that does not come whole and well is `Invalid`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        try:
            return self._stream.read(size)
        except TimeoutError:
            raise Invalid("the body did not arrive in time", field="body") from None
        except OSError as error:
            raise Invalid(f"the body is incomplete: {error}", field="body") from None


def body_stream(limit: int) -> Body:
    """The request's body, not yet read. Raises `TooLarge` for one that says it is."""
    if bottle.request.content_length > limit:
        raise too_large(limit)
    return Body(bottle.request.environ["wsgi.input"])


def current_yield_control() -> YieldControl:
    """How the request in hand gives way."""
    yield_now: YieldControl = bottle.request.environ.get(YIELD_CONTROL, never_yield)
    return yield_now


def too_large(limit: int) -> wire.TooLarge:
    return wire.TooLarge(f"the body is larger than {limit} bytes")


def header(name: str) -> str | None:
    """A header, None where it was not sent. Raises `Invalid` for what is no text."""
    if f"HTTP_{name.replace('-', '_').upper()}" not in bottle.request.environ:
        return None
    try:
        value: str | None = bottle.request.get_header(name)
    except UnicodeError:
        raise Invalid(f"{name} must be UTF-8", field=name) from None
    return value


def query(known: set[str]) -> dict[str, list[str]]:
    """The query's parameters. Raises `Invalid` for one that the route does not know."""
    parameters: dict[str, list[str]] = bottle.request.query.dict
    for name in parameters:
        if name not in known:
            expected = f"known are {', '.join(sorted(known))}" if known else "it takes none"
            raise Invalid(f"{name} is not a parameter of this route; {expected}", field=name)
    return parameters


def task_filter() -> TaskFilter:
    """Which tasks the query wants. Raises `Invalid`, naming the parameter."""
    parameters = query(set(FIELDS))
    fields: dict[str, Any] = {}
    for name, values in parameters.items():
        values = [as_unicode(value, name) for value in values]
        if name in ("limit", "offset"):
            fields[name] = whole(parameters, name, 0)
        elif name == "include":
            fields[name] = [part for value in values for part in value.split(",")]
        else:
            fields[name] = values if name in REPEATABLE else values[-1]
    return filters.task_filter(fields)


def as_unicode(value: str, name: str) -> str:
    """Bottle gives the bytes of a query's values as so many characters."""
    try:
        return value.encode("latin1").decode()
    except UnicodeError:
        raise Invalid(f"{name} must be UTF-8", field=name) from None


def whole(parameters: dict[str, list[str]], name: str, default: int) -> int:
    text = parameters.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise Invalid(f"{name} must be a whole number", field=name)
    return int(text)


def wait_parameter() -> float | None:
    """`?wait=` in seconds."""
    wait = query({"wait"}).get("wait")
    return _seconds(wait[-1]) if wait else None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= wire.LONGEST_WAIT_S:
        limit = f"{wire.LONGEST_WAIT_S:g}"
        raise Invalid(f"wait must be seconds from 0 to {limit}", field="wait")
    return seconds
