"""Decompresses replies: some proxies compress even though the request does not accept it."""

import zlib
from collections.abc import Iterable, Iterator

from ..base.cooperation import YieldControl

_PIECE = 64 << 10
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's `wbits`
_KNOWN = ("gzip", "x-gzip", "deflate")
_UNKNOWN = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")


class Undecodable(Exception):
    """A compressed reply cannot be decoded; the message says why."""


def decoded(
    pieces: Iterable[bytes], codings: Iterable[str], yield_control: YieldControl
) -> Iterator[bytes]:
    """Decode a reply into pieces of at most 64 KiB, each as soon as it can be decoded.

    `codings` are the values of Content-Encoding; names that are not a compression are ignored.
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
            is_full = False  # more output may be left of what was read
            while piece or is_full:
                if inflater is None:  # another stream may follow the first, or padding with zeros
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
        raise Undecodable(f"a reply that is not valid {coding}") from error
    if inflater is not None:
        raise Undecodable(f"a {coding} reply that was cut short")


def _format(start: bytes, coding: str) -> int:
    if coding != "deflate":
        return _GZIP
    # Some servers omit the zlib wrapper that HTTP requires around deflate data.
    return _ZLIB if start[0] & 0x0F == 8 else _BARE
