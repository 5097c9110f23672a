"""How the leader sends events to another server: frames of a length and msgpack."""

import struct
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from ..core.messages import CallsPlaced
from ..core.model.events import EventRecord

_LENGTH = struct.Struct(">I")
MOST_BYTES = 256 << 20  # of a frame: many records of 64 KiB each


class EventFrame(Struct, frozen=True, array_like=True):
    """Events that followed each other; `seq` is that of the newest before them. Or where calls are
    made, before any later event: the first frame says so of all. With neither it shows that the
    leader is there."""

    seq: int
    events: tuple[EventRecord, ...] = ()
    calls: CallsPlaced | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EventFrame).decode


def event_frame(seq: int, items: Iterable[EventRecord | CallsPlaced] = ()) -> bytes:
    """The frames of these items; one that shows that the leader is there if there are none."""
    frames: list[EventFrame] = []
    events: list[EventRecord] = []
    for item in items:
        if isinstance(item, EventRecord):
            events.append(item)
            continue
        if events:
            frames.append(EventFrame(seq, tuple(events)))
            seq, events = events[-1].seq, []
        frames.append(EventFrame(seq, (), item))
    if events or not frames:
        frames.append(EventFrame(seq, tuple(events)))
    bodies = [_encode(frame) for frame in frames]
    return b"".join(_LENGTH.pack(len(body)) + body for body in bodies)


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
