"""Decompresses request bodies."""

import sys
import zlib
from collections.abc import Iterable, Iterator

from ...actors.core.model.errors import Invalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = ("gzip", "deflate", "zstd")
PIECE = 256 << 10  # bytes of output at once
_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}  # 8 MiB; a larger one is refused
_GZIP, _ZLIB, _BARE = 31, zlib.MAX_WBITS, -zlib.MAX_WBITS  # zlib's `wbits`


def unpacked(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Decompress the pieces, into pieces of at most `PIECE` bytes. Raises `Invalid`."""
    try:
        yield from _unzstd(pieces) if coding == "zstd" else _inflated(pieces, coding)
    except (zlib.error, zstd.ZstdError) as error:
        why = str(error).rpartition(": ")[2].rstrip(".")
        raise Invalid(f"the body is not {coding}: {why}", field="body") from None


def _inflated(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    wbits = _GZIP if coding == "gzip" else _ZLIB
    unpacking, has_begun = zlib.decompressobj(wbits), False
    for piece in pieces:
        if not has_begun and coding == "deflate" and piece[0] & 0x0F != zlib.DEFLATED:
            unpacking = zlib.decompressobj(_BARE)  # raw, as some clients send
        has_begun = True
        while piece:
            if unpacking.eof:  # there may be several members
                unpacking = zlib.decompressobj(wbits)
            yield unpacking.decompress(piece, PIECE)
            piece = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
    yield unpacking.flush()
    if has_begun and not unpacking.eof:
        raise _incomplete(coding)


def _unzstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    frame: zstd.ZstdDecompressor | None = None  # a body may be several frames
    for piece in pieces:
        while piece or (frame is not None and not frame.needs_input):
            if frame is None:
                frame = zstd.ZstdDecompressor(options=_WINDOW)
            yield frame.decompress(piece, PIECE)
            piece = b""
            if frame.eof:
                piece, frame = frame.unused_data, None
    if frame is not None:
        raise _incomplete("zstd")


def _incomplete(coding: str) -> Invalid:
    return Invalid(f"the body is incomplete: its {coding} ends too early", field="body")
