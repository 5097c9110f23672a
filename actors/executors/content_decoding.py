"""Replies that come compressed, though nobody asked for it: some proxies do that by themselves."""

import zlib
from collections.abc import Iterable, Iterator

from ..base.cooperation import YieldControl

_PIECE = 64 << 10
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's `wbits`
_KNOWN = ("gzip", "x-gzip", "deflate")
_UNKNOWN = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")


class Undecodable(Exception):
    """What is wrong with a compressed reply."""


def decoded(
    pieces: Iterable[bytes], codings: Iterable[str], yield_control: YieldControl
) -> Iterator[bytes]:
    """The reply in pieces of 64 KiB at most, each as soon as it can be read.

    `codings` are the values of Content-Encoding; names that are no compression stand for none.
    Raises `Undecodable`.
    """
    names = [coding.strip().lower() for coding in codings]
    compressed = [name for name in names if name in _KNOWN + _UNKNOWN]
    if not compressed:
        return iter(pieces)
    if len(compressed) > 1 or compressed[0] in _UNKNOWN:
        message = f"a reply compressed with {', '.join(compressed)}; only gzip and deflate are read"
        raise Undecodable(message)
    return _inflated(pieces, compressed[0], yield_control)


def _inflated(pieces: Iterable[bytes], coding: str, yield_control: YieldControl) -> Iterator[bytes]:
    inflater, has_ended = None, False
    try:
        for piece in pieces:
            is_full = False  # there may be more to come of what was read
            while piece or is_full:
                if inflater is None:  # behind one stream another may follow, or zeros that fill up
                    piece = piece.lstrip(b"\0") if has_ended else piece
                    if not piece:
                        break
                    inflater = zlib.decompressobj(_format(piece, coding))
                data = inflater.decompress(piece, _PIECE)
                if data:
                    yield data
                piece, is_full = inflater.unconsumed_tail, len(data) == _PIECE
                if inflater.eof:
                    piece, is_full = inflater.unused_data, False
                    inflater, has_ended = None, True
                yield_control()
    except zlib.error as error:
        raise Undecodable(f"a reply that is not the {coding} it says") from error
    if inflater is not None:
        raise Undecodable(f"a {coding} reply that was cut short")


def _format(start: bytes, coding: str) -> int:
    if coding != "deflate":
        return _GZIP
    # Some servers leave the wrapper away that HTTP wants around deflate's bytes.
    return _ZLIB if start[0] & 0x0F == 8 else _BARE
