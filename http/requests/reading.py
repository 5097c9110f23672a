"""Reads requests: bodies, headers and queries, with a clear error for what is wrong in them."""

import math
from collections.abc import Iterator
from typing import Any

from ...actors.base.cooperation import YieldControl, cooperatively, run_steps
from ...actors.core.intake import filters
from ...actors.core.intake.filters import FIELDS, REPEATABLE
from ...actors.core.model.errors import Invalid
from ...actors.core.model.task_filter import TaskFilter
from ...actors.core.text import strict_json
from ...actors.core.text.json_weight import MOST_PARTS, weigh
from .. import wire
from .arriving import ARRIVING, SMALL
from .decompression import CODINGS, unpacked
from .exchange import BodyStream, current

PIECE = 256 << 10  # bytes per read


def body(limit: int) -> Any:
    """The request's JSON. Raises `TooLarge` before reading, `Invalid` for malformed JSON."""
    return decode(b"".join(pieces(limit)), "the body", "body", current_yield_control())


def decode(raw: bytes, what: str, field: str, yield_control: YieldControl) -> Any:
    """Decode JSON. Raises `Invalid` with a message about `what`; for too many values, before
    decoding."""
    if len(raw) > MOST_PARTS:  # a shorter text cannot have too many: each takes a byte
        run_steps(weigh(raw, what, field), yield_control)
    value = strict_json.decode(raw, what, field)
    yield_control()
    return value


def streams(body: dict[str, Any], *, default: bool) -> bool:
    """Whether a request of a drop-in API asks for a stream. Raises `Invalid`."""
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise Invalid("stream must be true or false", field="stream")
    return default if stream is None else stream


def json_object(limit: int) -> dict[str, Any]:
    """The request's JSON object. Raises as `body` does."""
    value = body(limit)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object", field="body")
    return value


def pieces(limit: int) -> Iterator[bytes]:
    """The body as it arrives, decompressed, for a caller who keeps the pieces until the last one.

    Raises `TooLarge` as soon as it is (compressed or not), `Invalid` for an incomplete or malformed
    body, `UnknownCoding`, `Unavailable` if all bodies that are arriving are too large together.
    """
    read = held = 0
    try:
        for piece in passing_pieces(limit):
            read += len(piece)
            if read > SMALL:
                ARRIVING.hold(len(piece))
                held += len(piece)
            yield piece
    finally:
        if held:
            ARRIVING.release(held)


def passing_pieces(limit: int) -> Iterator[bytes]:
    """The same for a caller who keeps none of the pieces, and without a bound on all bodies."""
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
    value = header("Content-Encoding")
    if value is None:
        return None
    coding = value.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        known = f"{', '.join(CODINGS[:-1])} or {CODINGS[-1]}"
        raise wire.UnknownCoding(
            f"Content-Encoding {coding[:50]} is not supported: send {known}, or leave it out",
            field="Content-Encoding",
        )
    return coding


class Body:
    """A request's body, not yet read. `read` raises `Invalid` if it is incomplete or malformed."""

    def __init__(self, stream: BodyStream) -> None:
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
    """The request's body, not yet read. Raises `TooLarge` if its Content-Length is too large."""
    exchange = current()
    if (exchange.content_length or 0) > limit:
        raise too_large(limit)
    return Body(exchange.stream)


def current_yield_control() -> YieldControl:
    """The function with which the current request yields."""
    return current().yield_control


def too_large(limit: int) -> wire.TooLarge:
    return wire.TooLarge(f"the body is larger than {limit} bytes")


def header(name: str) -> str | None:
    """A header, or None if not sent. Raises `Invalid` if it is not UTF-8."""
    return current().header(name)


def query(known: set[str]) -> dict[str, list[str]]:
    """The query's parameters. Raises `Invalid` for one not in `known`."""
    parameters = current().parameters()
    for name in parameters:
        if name not in known:
            expected = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise Invalid(f"{name} is not a parameter of this route; {expected}", field=name)
    return parameters


def task_filter() -> TaskFilter:
    """The query as a task filter. Raises `Invalid`, naming the parameter."""
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


def texts(known: set[str]) -> dict[str, str]:
    """The query's parameters, the last value of each. Raises `Invalid`, as `query` does."""
    return {name: as_unicode(values[-1], name) for name, values in query(known).items()}


def as_unicode(value: str, name: str) -> str:
    """Decode a query value, given as Latin-1. Raises `Invalid`."""
    try:
        return value.encode("latin1").decode()
    except UnicodeError:
        raise Invalid(f"{name} must be UTF-8", field=name) from None


def whole(parameters: dict[str, list[str]], name: str, default: int) -> int:
    text = parameters.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise Invalid(f"{name} must be a whole number", field=name)
    return int(text)


def page_limit(parameters: dict[str, list[str]], default: int, most: int) -> int:
    """`?limit=`, how many items a page may have, from 1 to `most`. Raises `Invalid`."""
    limit = whole(parameters, "limit", default)
    if not 1 <= limit <= most:
        raise Invalid(f"limit must be from 1 to {most}", field="limit")
    return limit


def wait_parameter() -> float | None:
    """`?wait=` in seconds, or None. Raises `Invalid`."""
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
