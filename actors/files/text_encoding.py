"""Converts text as Windows writes it to UTF-8, as its bytes arrive."""

import codecs
import json
from collections.abc import Iterable, Iterator

from ..core.model.errors import Invalid


def as_utf8(pieces: Iterable[bytes], what: str, field: str) -> Iterator[bytes]:
    """Convert JSON with a byte order mark, or in UTF-16 or UTF-32, to UTF-8. Raises `Invalid`.

    `what` and `field` name the text in errors.
    """
    rest = iter(pieces)
    first = b""
    for piece in rest:
        first += piece
        if len(first) >= 4:
            break
    named = json.detect_encoding(first)
    if named == "utf-8":
        yield first
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(named)()
    try:
        yield decoder.decode(first).encode()
        for piece in rest:
            yield decoder.decode(piece).encode()
        decoder.decode(b"", final=True)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        reason = f"{what} must be text in UTF-8 or UTF-16: {error.reason}"
        raise Invalid(reason, field=field) from None
