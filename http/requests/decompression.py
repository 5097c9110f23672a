"""Bodies that clients compressed."""

import zlib
from collections.abc import Iterable, Iterator

from ...actors.core.model.errors import Invalid

CODINGS = {"gzip": 31, "deflate": zlib.MAX_WBITS}  # and what zlib calls them
PIECE = 256 << 10  # bytes of what comes out at once


def unpacked(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """What the pieces hold, in pieces that are never large. Raises `Invalid`."""
    unpacking, has_begun = zlib.decompressobj(CODINGS[coding]), False
    try:
        for piece in pieces:
            if not has_begun and coding == "deflate" and piece[0] & 0x0F != zlib.DEFLATED:
                unpacking = zlib.decompressobj(-zlib.MAX_WBITS)  # bare, as some clients send it
            has_begun = True
            while piece:
                if unpacking.eof:  # what is packed may come in several parts
                    unpacking = zlib.decompressobj(CODINGS[coding])
                yield unpacking.decompress(piece, PIECE)
                piece = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
        yield unpacking.flush()
    except zlib.error as error:
        why = str(error).rpartition(": ")[2]
        raise Invalid(f"the body is not {coding}: {why}", field="body") from None
    if has_begun and not unpacking.eof:
        raise Invalid(f"the body is incomplete: its {coding} ends too early", field="body")
