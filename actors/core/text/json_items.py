"""Splits a batch into tasks as its bytes arrive: a JSON list, or JSON lines.

It only finds where each value ends, so it holds one value at a time. The caller decodes the value
and reports errors inside it; errors between values raise `Invalid` here.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from ..model.errors import Invalid

JsonItem = tuple[str, bytes]  # its place, as errors name it, and its JSON

# A string without an escaped quote, as most are, is skipped several times as fast.
_STRING = rb'"(?:[^"]*+(?<!\\)"|(?:[^"\\]++|\\.)*+")'


def _up_to(stops: bytes, nested: int) -> bytes:
    """A pattern for text up to one of `stops` that is neither in a string nor in brackets.

    It skips brackets in up to `nested` levels. A string or bracket without an end stops it.
    """
    inner = _STRING
    if nested:
        inner += rb"|[\[{]" + _up_to(rb"\[\]{}", nested - 1) + rb"[\]}]"
    other = rb'[^"' + stops + rb"]*+"
    return other + rb"(?:(?:" + inner + rb")" + other + rb")*+"


# Up to what may end a value: a bracket inside brackets; a bracket or comma outside. The content of
# most tasks is nested less deep: it is skipped at once.
_INSIDE = re.compile(_up_to(rb"\[\]{}", 3), re.DOTALL)
_BESIDE = re.compile(_up_to(rb"\[\]{},", 3), re.DOTALL)
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_KEY = re.compile(_STRING + rb"(?=[ \t\r\n]*+:)", re.DOTALL)
_LONGEST_KEY = 1000  # bytes up to the colon, of which `tasks` needs few
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_LINE = re.compile(rb"[^\r\n]*+")
_QUOTE, _OPENING, _CLOSING = b'"'[0], frozenset(b"[{"), frozenset(b"]}")


def in_list(
    pieces: Iterable[bytes], what: str, field: str, most: int, key: str = "tasks"
) -> Iterator[JsonItem]:
    """The values of a JSON list, or of `{"tasks": [...]}`, each of at most `most` bytes.

    `what` and `field` name the whole text in errors, `key` is the field in place of `tasks`. Raises
    `Invalid`.
    """
    text = _JsonText(pieces, what, field, most, key)
    is_wrapped = _begin(text)
    stop, index = text.next(), 0
    if stop == b"]":
        text.take(1)
    while stop != b"]":
        text.place = f"{key}[{index}]"
        yield text.place, text.take(_length(text))
        stop, index = text.take(1), index + 1
        if stop == b"}":
            raise text.wrong(f"a list cannot end with }} (after {text.place})")
    if is_wrapped and text.next() == b",":
        raise Invalid(f"{what} must have no field besides {key}", field=field)
    if is_wrapped and text.next() == b"}":
        text.take(1)
        is_wrapped = False
    if is_wrapped or text.next():
        raise text.wrong(f"unexpected data after the list of {key}")


def in_lines(pieces: Iterable[bytes], what: str, field: str, most: int) -> Iterator[JsonItem]:
    """The values of JSON lines, which may end with LF, CR or both. Empty lines are skipped."""
    text = _JsonText(pieces, what, field, most)
    number, is_open = 1, False  # is_open: after a CR, which an LF may follow
    while text.has_more():
        blanks = text.take(text.match(_BLANKS, 0))  # there may be millions of empty lines
        if blanks:
            number += _endings(blanks) - (is_open and blanks.startswith(b"\n"))
            is_open = blanks.endswith(b"\r")
            continue
        text.place, is_open = f"line {number}", False
        end = text.match(_LINE, 0)
        while text.is_at_end(end) and text.more(end):
            end = text.match(_LINE, end)
        line = text.take(end)
        if line.strip():
            yield text.place, line


def _endings(blanks: bytes) -> int:
    return blanks.count(b"\n") + blanks.count(b"\r") - blanks.count(b"\r\n")


class _JsonText:
    """The bytes received; those in `data` before `start` are consumed."""

    def __init__(
        self, pieces: Iterable[bytes], what: str, field: str, most: int, key: str = "tasks"
    ) -> None:
        self._pieces, self.key = iter(pieces), key
        self._what, self._field, self._most = what, field, most
        self._data, self._start = bytearray(), 0
        self.place = what  # of the current value

    def more(self, held: int = 0) -> bool:
        """Receive a piece; False if there is none. `held` bytes belong to an unfinished value."""
        if held > self._most:
            raise Invalid(f"{self.place} is larger than {self._most} bytes", field=self.place)
        del self._data[: self._start]
        self._start = 0
        for piece in self._pieces:
            self._data += piece
            return True
        return False

    def is_at_end(self, at: int) -> bool:
        return self._start + at == len(self._data)

    def is_shorter_than(self, count: int) -> bool:
        return len(self._data) - self._start < count

    def has_more(self) -> bool:
        return not self.is_at_end(0) or self.more()

    def match(self, pattern: re.Pattern[bytes], at: int) -> int:
        """Where a match from `at` ends; both are counted from `start`."""
        matched = pattern.match(self._data, self._start + at)
        return matched.end() - self._start if matched else at

    def byte(self, at: int) -> int:
        return self._data[self._start + at]

    def take(self, count: int) -> bytes:
        begin, self._start = self._start, min(self._start + count, len(self._data))
        with memoryview(self._data) as view:
            return bytes(view[begin : self._start])

    def next(self) -> bytes:
        """The next byte that is not blank, without consuming it; empty at the end."""
        while self.has_more():
            self.take(self.match(_BLANKS, 0))
            if not self.is_at_end(0):
                return bytes([self.byte(0)])
        return b""

    def wrong(self, why: str) -> Invalid:
        return Invalid(f"{self._what} must be JSON: {why}", field=self._field)

    def another(self) -> Invalid:
        message = f'{self._what} must be a list of {self.key}, or {{"{self.key}": […]}}'
        return Invalid(message, field=self.key)


def _begin(text: _JsonText) -> bool:
    """Consume the list's opening bracket. Returns True if the list is a field of an object."""
    is_wrapped = text.next() == b"{"
    if is_wrapped:
        text.take(1)
        text.next()
        while not (end := text.match(_KEY, 0)) and text.more():
            if not text.is_shorter_than(_LONGEST_KEY):
                break
        try:
            key = msgspec.json.decode(text.take(end))
        except (msgspec.DecodeError, UnicodeError):
            raise text.another() from None
        text.next()
        text.take(1)  # the colon
        if key != text.key:
            raise text.another()
    if text.next() != b"[":
        raise text.another()
    text.take(1)
    return is_wrapped


def _length(text: _JsonText) -> int:
    """The length of the value that starts here, up to the comma or bracket after it."""
    at, depth, is_cut = 0, 0, False  # is_cut: within a string
    while True:
        at = text.match(_REST_OF_STRING if is_cut else _INSIDE if depth else _BESIDE, at)
        if text.is_at_end(at) or (is_cut and text.byte(at) != _QUOTE):
            if not text.more(at):
                raise text.wrong(f"it ends within {text.place}")
            continue
        first = text.byte(at)
        if first == _QUOTE:
            is_cut = not is_cut
        elif first in _OPENING:
            depth += 1
        elif depth:
            depth -= 1
        else:
            return at
        at += 1
