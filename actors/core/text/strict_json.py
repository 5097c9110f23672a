"""Strict JSON: no NaN or infinity, and limited nesting."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..model.errors import Invalid

MAX_DEPTH = 100  # nested lists and objects
MENDED_BYTES = 2 << 20
# A first half of a surrogate pair without a second, and a second without a first. An escaped
# backslash starts nothing.
_ESCAPE = rb"(?<!\\)((?:\\\\)*+)\\u[dD]"
_HIGH_HALF = re.compile(_ESCAPE + rb"[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_LOW_HALF = re.compile(
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})" + _ESCAPE + rb"[c-fC-F][0-9a-fA-F]{2}"
)
_UNKNOWN = rb"\1\\ufffd"
_PLAIN = frozenset({str, int, bool, type(None)})
_LISTS = (list, tuple, set, frozenset)


def decode(raw: bytes | str, what: str, field: str) -> Any:
    """Decode `raw`. Raises `Invalid` with a sentence about `what`."""
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
    """Replace each lone half of a surrogate pair by U+FFFD, as Go does; None if there is none.

    Programs that cut text by UTF-16 units send them. Longer texts are not searched.
    """
    if len(raw) > MENDED_BYTES:
        return None
    mended = _LOW_HALF.sub(_UNKNOWN, _HIGH_HALF.sub(_UNKNOWN, raw))
    return None if mended == raw else mended


def check_written(written: bytes, parts: Mapping[Any, Any]) -> None:
    """Raise `Invalid`, naming the place, if JSON could not represent the parts in `written`."""
    for _ in checking_written(written, parts):
        pass


def checking_written(written: bytes, parts: Mapping[Any, Any]) -> Iterator[None]:
    """As `check_written`, in steps.

    NaN and infinities are written as null, so most values need no inspection.
    """
    brackets = written.count(b"{")
    yield
    brackets += written.count(b"[")
    yield
    if brackets > MAX_DEPTH or b"null" in written:
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
    """The contents of a list or an object; None for anything else."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, _LISTS):
        return enumerate(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value).items()
    return value.items() if isinstance(value, Mapping) else None


def _what_is_wrong(value: Any, name: str, top: str, depth_left: int) -> Invalid:
    """The error for a value that JSON cannot represent. Slow, as it finds the place."""
    inner = _inner(value)
    if inner is None:
        return Invalid(f"{name} must be a finite number: JSON has no {value}", field=name)
    if depth_left == 0:
        return too_deep(top, top)
    key, wrong = next(pair for pair in inner if not _is_sayable(pair[1], depth_left - 1))
    place = f"{name}.{key}" if isinstance(key, str) else f"{name}[{key}]"
    return _what_is_wrong(wrong, place, top, depth_left - 1)
