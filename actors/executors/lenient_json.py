"""Reads JSON that some servers write and strict decoders reject: half characters, -Infinity."""

import json
import math
from typing import Any

_HIGH = range(0xD800, 0xDC00)  # first halves of surrogate pairs


def lenient(text: bytes) -> Any:
    """Decode `text`, with null for NaN and infinities, and U+FFFD for bytes that are not UTF-8.

    Text in it may still contain half a surrogate pair. Raises ValueError or RecursionError.
    """
    decoded = text.decode("utf-8", "replace")
    return json.loads(decoded, parse_constant=lambda _: None, parse_float=_finite)


class SurrogateJoiner:
    """Joins surrogate pairs that are split between the pieces of one reply.

    A first half at the end of a text waits for the other half, in the same place of the next
    piece; a half alone becomes U+FFFD. `waiting` are the first halves, by their places.
    """

    def __init__(self) -> None:
        self.waiting: dict[tuple[Any, ...], str] = {}
        self._is_last = False

    def mended(self, piece: Any) -> Any:
        choices = piece.get("choices") if isinstance(piece, dict) else None
        each = choices if isinstance(choices, list) else [piece]
        ends = (one.get("finish_reason") or one.get("done") for one in each if type(one) is dict)
        self._is_last = any(ends)
        return self._mended(piece, ())

    def _mended(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            place = (*place, value.get("index"))
            return {_whole(key): self._mended(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._mended(item, place) for item in value]
        if not isinstance(value, str):
            return value
        text = self.waiting.pop(place, "") + value
        if text and ord(text[-1]) in _HIGH and not self._is_last:
            self.waiting[place] = text[-1]
            text = text[:-1]
        return _whole(text)


def _whole(text: str) -> str:
    """Join surrogate pairs into characters, and replace halves by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
