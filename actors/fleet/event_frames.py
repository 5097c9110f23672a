"""How the leader sends events to another server: frames of a length and msgpack."""

import struct
from collections.abc import Collection, Iterable, Iterator

import msgspec
from msgspec import Struct

from ..core.model.events import EventRecord

_LENGTH = struct.Struct(">I")
MOST_BYTES = 256 << 20  # of a frame: many records of 64 KiB each


class EventFrame(Struct, frozen=True, array_like=True):
    """Events that followed each other; `seq` is that of the newest before them. Without events it
    shows that the leader is there."""

    seq: int
    events: tuple[EventRecord, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EventFrame).decode


def event_frame(seq: int, events: Collection[EventRecord] = ()) -> bytes:
    body = _encode(EventFrame(seq, tuple(events)))
    return _LENGTH.pack(len(body)) + body


def event_frames(pieces: Iterable[bytes]) -> Iterator[EventFrame]:
    """The frames in these bytes. Raises `ValueError` for what is none."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MOST_BYTES:
                raise ValueError("what the leader sent are no events")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            yield _decode(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
