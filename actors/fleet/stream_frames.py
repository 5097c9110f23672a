"""How a server sends a stream to another: frames of a length, a kind and a body."""

import struct
from collections.abc import Iterable, Iterator

import msgspec

from ..core.messages import StreamEnded
from ..core.model.tasks import AttemptBegun, Piece

_HEAD = struct.Struct(">IBII")  # the length of the body, the kind, the attempt, the number
_BEGUN, _PIECE, _ENDED = 1, 2, 3
MOST_BYTES = 64 << 20  # of a body: a whole reply may be one piece
_decode_begun = msgspec.msgpack.Decoder(AttemptBegun).decode
HEARTBEAT = _HEAD.pack(0, 0, 0, 0)
Framed = AttemptBegun | Piece | StreamEnded


def frame(item: Framed) -> bytes:
    match item:
        case AttemptBegun(attempt):
            body = msgspec.msgpack.encode(item)
            return _HEAD.pack(len(body), _BEGUN, attempt, 0) + body
        case Piece(attempt, number, raw):
            return _HEAD.pack(len(raw), _PIECE, attempt, number) + raw
        case StreamEnded(_, attempt):
            return _HEAD.pack(0, _ENDED, attempt, 0)


def frames(task_id: str, pieces: Iterable[bytes]) -> Iterator[Framed]:
    """The frames in these bytes, but heartbeats. Raises `ValueError` for what is none."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, kind, attempt, number = _HEAD.unpack_from(buffer, start)
            if length > MOST_BYTES or kind > _ENDED:
                raise ValueError("what another server sent is no stream")
            end = start + _HEAD.size + length
            if len(buffer) < end:
                break
            body = bytes(buffer[start + _HEAD.size : end])
            start = end
            if kind == _BEGUN:
                yield _decode_begun(body)
            elif kind == _PIECE:
                yield Piece(attempt, number, body)
            elif kind == _ENDED:
                yield StreamEnded(task_id, attempt)
        del buffer[:start]
