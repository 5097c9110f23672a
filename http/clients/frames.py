"""What a client makes of the frames that a server sends."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from ...actors.core.model.tasks import Chunk, Event, Status
from ...actors.routines.steps import Box
from ..sse import Frame, Parser

# How an answer that is read as it comes may end; whoever takes what was read comes again.
BROKEN = (httpx.HTTPError, httpx.StreamError, OSError, ValueError, EOFError)


class End(Struct, frozen=True):
    """The last event of a stream."""

    task_id: str
    status: Status
    error: str | None


_decode_end = msgspec.json.Decoder(End).decode
_decode_event = msgspec.json.Decoder(Event).decode


def chunk(frame: Frame) -> Chunk | None:
    """A piece of a reply; None for what is to be passed over."""
    if frame.event == "chunk":
        return Chunk(frame.id or "", msgspec.json.decode(frame.data))
    if frame.event == "restart":
        return Chunk("", restart=True)
    if frame.event == "end":
        end = _decode_end(frame.data)
        return Chunk("", done=True, error=end.error, status=end.status)
    return None


class TakesEvents:
    """Makes events of frames. A second snapshot ends it: the queue restarted, and what happened
    meanwhile was not told; whoever has to know reads anew."""

    def __init__(self) -> None:
        self._has_begun = False

    def __call__(self, frame: Frame) -> Event | None:
        if frame.event == "snapshot":
            if self._has_begun:
                raise EOFError
            self._has_begun = True
        return _decode_event(frame.data) if frame.event == "event" else None


class Intake:
    """Bytes of an answer in, items into a mailbox; `take` gives None for what is passed over."""

    def __init__(self, mailbox: Box, take: Callable[[Frame], Any]) -> None:
        self.mailbox = mailbox
        self._take = take
        self._parser = Parser()

    def feed(self, data: bytes) -> bool:
        """False when nobody takes any more. Raises `BROKEN` where the answer is no good."""
        for frame in self._parser.feed(data):
            item = self._take(frame)
            if item is not None and not self.mailbox.put(item):
                return False
        return True

    def end(self) -> None:
        """The answer has ended, or broken off; whoever takes what was read may come again."""
        self.mailbox.close("restarted")
