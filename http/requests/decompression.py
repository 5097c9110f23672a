"""Decompresses request bodies."""

import zlib
from collections.abc import Iterable, Iterator

from ...actors.core.model.errors import Invalid

CODINGS = {"gzip": 31, "deflate": zlib.MAX_WBITS}  # to zlib's `wbits`
PIECE = 256 << 10  # bytes of output at once


def unpacked(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Decompress the pieces, into pieces of at most `PIECE` bytes. Raises `Invalid`."""
    unpacking, has_begun = zlib.decompressobj(CODINGS[coding]), False
    try:
        for piece in pieces:
            if not has_begun and coding == "deflate" and piece[0] & 0x0F != zlib.DEFLATED:
                unpacking = zlib.decompressobj(-zlib.MAX_WBITS)  # raw, as some clients send
            has_begun = True
            while piece:
                if unpacking.eof:  # there may be several members
                    unpacking = zlib.decompressobj(CODINGS[coding])
                yield unpacking.decompress(piece, PIECE)
                piece = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
        yield unpacking.flush()
    except zlib.error as error:
        why = str(error).rpartition(": ")[2]
        raise Invalid(f"the body is not {coding}: {why}", field="body") from None
    if has_begun and not unpacking.eof:
        raise Invalid(f"the body is incomplete: its {coding} ends too early", field="body")
