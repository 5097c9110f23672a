"""Estimates the cost of decoding a JSON text beforehand, as decoding cannot yield control.

Long text costs almost nothing to decode, many small values cost much: a million `{}`, three
megabytes, take as long as a gigabyte of text. So the values are counted.
"""

from collections.abc import Generator

from ..model.errors import Invalid

MOST_PARTS = 100_000  # texts (including field names), lists and objects
MOST_VALUES = 1_000_000  # these, and numbers, true, false and null
SLICE = 256 << 10  # bytes between two pauses


def weigh(
    raw: bytes, what: str, field: str, most_values: float = MOST_VALUES
) -> Generator[None, None, None]:
    """Raise `Invalid`, with a sentence about `what`, if `raw` holds too many values.

    The caller yields control at each of its pauses.
    """
    if len(raw) <= MOST_PARTS:  # most texts: each part takes at least a byte
        return
    commas = quotes = opens = 0
    for start in range(0, len(raw), SLICE):  # counts also what is inside texts
        end = start + SLICE
        commas += raw.count(b",", start, end)
        quotes += raw.count(b'"', start, end)
        opens += raw.count(b"{", start, end) + raw.count(b"[", start, end)
        if quotes // 2 + opens > MOST_PARTS or commas + opens > most_values:
            yield from _weigh_exactly(raw, what, field, most_values)
            return
        yield


def _weigh_exactly(
    raw: bytes, what: str, field: str, most_values: float
) -> Generator[None, None, None]:
    """Count exactly, without the content of texts: a large piece of source code is one value."""
    commas = quotes = opens = start = 0
    while start < len(raw):
        end = start + SLICE
        piece = raw[start:end]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # do not split an escape
            end += 1
            piece = raw[start:end]
        start = end
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        is_within = quotes % 2
        quotes += piece.count(b'"')
        if quotes // 2 <= MOST_PARTS:
            outside = b"".join(piece.split(b'"')[is_within::2])
            commas += outside.count(b",")
            opens += outside.count(b"{") + outside.count(b"[")
        if quotes // 2 + opens > MOST_PARTS:
            parts = f"{MOST_PARTS} texts, lists and objects"
            raise Invalid(f"{what} must not contain more than {parts}", field=field)
        if commas + opens > most_values:
            raise Invalid(f"{what} must not contain more than {most_values} values", field=field)
        yield
