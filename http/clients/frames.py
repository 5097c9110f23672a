"""Converts the frames that a server sends to chunks and events."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from ...actors.core.model.tasks import Chunk, Event, Status
from ...actors.routines.steps import Box
from ..sse import Frame, Parser

# The errors with which a streamed response may break off; the reader then reconnects.
BROKEN = (httpx.HTTPError, httpx.StreamError, OSError, ValueError, EOFError)


class End(Struct, frozen=True):
    """The last event of a stream."""

    task_id: str
    status: Status
    error: str | None


_decode_end = msgspec.json.Decoder(End).decode
_decode_event = msgspec.json.Decoder(Event).decode


def chunk(frame: Frame) -> Chunk | None:
    """The chunk in a frame, or None for a frame to skip."""
    if frame.event == "chunk":
        return Chunk(frame.id or "", msgspec.json.decode(frame.data))
    if frame.event == "restart":
        return Chunk("", restart=True)
    if frame.event == "end":
        end = _decode_end(frame.data)
        return Chunk("", done=True, error=end.error, status=end.status)
    return None


class TakesEvents:
    """Converts frames to events, or to None for frames to skip.

    A second snapshot raises `EOFError`: the queue restarted and events were missed, so the reader
    must reconnect and read again.
    """

    def __init__(self) -> None:
        self._has_begun = False

    def __call__(self, frame: Frame) -> Event | None:
        if frame.event == "snapshot":
            if self._has_begun:
                raise EOFError
            self._has_begun = True
        return _decode_event(frame.data) if frame.event == "event" else None


class Intake:
    """Parses the bytes of a response and puts items into a mailbox.

    `take` converts a frame to an item, or to None to skip it.
    """

    def __init__(self, mailbox: Box, take: Callable[[Frame], Any]) -> None:
        self.mailbox = mailbox
        self._take = take
        self._parser = Parser()

    def feed(self, data: bytes) -> bool:
        """Parse `data`. False if the mailbox is closed. Raises one of `BROKEN` for invalid data."""
        for frame in self._parser.feed(data):
            item = self._take(frame)
            if item is not None and not self.mailbox.put(item):
                return False
        return True

    def end(self) -> None:
        """Close the mailbox: the response has ended or broken off, and the reader may reconnect."""
        self.mailbox.close("restarted")
