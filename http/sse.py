"""Server-sent events: encoding for the server, parsing for the clients."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

HEARTBEAT_S = 5.0  # of silence before a comment is sent
SILENCE = b":\n\n"


def frame(event: str, data: Any, frame_id: str | None = None) -> bytes:
    """Encode one event; its data is JSON without line breaks."""
    return raw_frame(event, msgspec.json.encode(data), frame_id)


def raw_frame(event: str, data: bytes, frame_id: str | None = None) -> bytes:
    """One event with this data, a single line."""
    head = f"event: {event}\n" if frame_id is None else f"event: {event}\nid: {frame_id}\n"
    return b"%sdata: %s\n\n" % (head.encode(), data)


class Frame(Struct, frozen=True):
    """A received event; a comment has no data."""

    event: str = "message"
    data: bytes = b""
    id: str | None = None


class Parser:
    """Bytes in, frames out. Parses only our own server's form: one data line per event, LF ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        for text in whole:
            fields = dict(_field(line) for line in text.split(b"\n"))
            yield Frame(
                fields.get("event", b"message").decode(),
                fields.get("data", b""),
                fields["id"].decode() if "id" in fields else None,
            )


def _field(line: bytes) -> tuple[str, bytes]:
    name, _, value = line.partition(b":")
    return name.decode(), value.removeprefix(b" ")
