"""JSON as the queue takes it: no number that it has no word for, and no endless nesting."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..model.errors import Invalid

MAX_DEPTH = 100  # lists and objects inside each other
MENDED_BYTES = 2 << 20
# The first half of a pair without a second, then the second without a first. A backslash that
# others escape begins nothing.
_ESCAPE = rb"(?<!\\)((?:\\\\)*+)\\u[dD]"
_HIGH_HALF = re.compile(_ESCAPE + rb"[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_LOW_HALF = re.compile(
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})" + _ESCAPE + rb"[c-fC-F][0-9a-fA-F]{2}"
)
_UNKNOWN = rb"\1\\ufffd"
_PLAIN = frozenset({str, int, bool, type(None)})
_LISTS = (list, tuple, set, frozenset)


def decode(raw: bytes | str, what: str, field: str) -> Any:
    """The value of `raw`. Raises `Invalid` with a sentence about `what`."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as error:
        mended = _without_halves(raw.encode() if isinstance(raw, str) else raw)
        if mended is not None:
            return decode(mended, what, field)
        raise Invalid(f"{what} must be JSON: {error}", field=field) from None
    except RecursionError:
        raise too_deep(what, field) from None


def _without_halves(raw: bytes) -> bytes | None:
    """With U+FFFD for each half of a surrogate pair, as Go reads it; None if there is no half.

    Programs that cut texts by UTF-16 units send them. In megabytes nobody looks for them.
    """
    if len(raw) > MENDED_BYTES:
        return None
    mended = _LOW_HALF.sub(_UNKNOWN, _HIGH_HALF.sub(_UNKNOWN, raw))
    return None if mended == raw else mended


def check_written(written: bytes, parts: Mapping[Any, Any]) -> None:
    """Raises `Invalid`, naming the place, where `written` is not what the parts say.

    NaN and infinities are written as null; hence most values need not be looked through.
    """
    brackets = written.count(b"{") + written.count(b"[")
    if b"null" in written or brackets > MAX_DEPTH:
        for name, value in parts.items():
            if not _is_sayable(value, MAX_DEPTH):
                raise _what_is_wrong(value, str(name), str(name), MAX_DEPTH)


def too_deep(what: str, field: str) -> Invalid:
    return Invalid(f"{what} must not be nested more than {MAX_DEPTH} levels deep", field=field)


def _is_sayable(value: Any, depth_left: int) -> bool:
    level = [value]  # by level: a call for each list and object would take ten times as long
    while level:
        below: list[Any] = []
        for each in level:
            kind = type(each)
            values = each.values() if kind is dict else each if kind is list else None
            if values is None and kind is not float and (inner := _inner(each)) is not None:
                values = [within for _, within in inner]
            if values is None:
                if isinstance(each, float) and not math.isfinite(each):
                    return False
            elif depth_left == 0:
                return False
            else:
                below += values
        level = [each for each in below if type(each) not in _PLAIN]
        depth_left -= 1
    return True


def _inner(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a list or an object holds; None for anything else."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, _LISTS):
        return enumerate(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value).items()
    return value.items() if isinstance(value, Mapping) else None


def _what_is_wrong(value: Any, name: str, top: str, depth_left: int) -> Invalid:
    """Of a value that cannot be said: slowly, since the place has to be named."""
    inner = _inner(value)
    if inner is None:
        return Invalid(f"{name} must be a finite number: JSON has no {value}", field=name)
    if depth_left == 0:
        return too_deep(top, top)
    key, wrong = next(pair for pair in inner if not _is_sayable(pair[1], depth_left - 1))
    place = f"{name}.{key}" if isinstance(key, str) else f"{name}[{key}]"
    return _what_is_wrong(wrong, place, top, depth_left - 1)
