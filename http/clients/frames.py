"""What a client makes of the frames that a server sends, and of a stream that breaks off."""

import time

import httpx
import msgspec
from msgspec import Struct

from ...actors.core.model.errors import QueueError, Unavailable
from ...actors.core.model.tasks import Chunk, Event, Status
from ..sse import Frame

OUTAGE_PATIENCE_S = 30.0  # a stream outlives a restart of the server
PAUSE_S = 0.2  # between two tries to reach it
CHUNKS_AHEAD = 100_000  # of one stream, before they are taken
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


class StreamPosition:
    """How far the reader of a stream has come: there it begins anew when the connection is lost."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self._lost_at: float | None = None

    def passed(self, piece: Chunk) -> None:
        self._lost_at = None
        if not (piece.restart or piece.done):
            self.headers = {"Last-Event-ID": piece.id}

    def pause_after(self, lost: QueueError) -> float:
        """Seconds until the next try; raises `Unavailable` when there have been enough."""
        if lost.message == "unsubscribed":
            raise Unavailable("this client is closed") from None
        now = time.monotonic()
        if self._lost_at is None:
            if isinstance(lost, Unavailable):
                raise lost
            self._lost_at = now
        if now - self._lost_at > OUTAGE_PATIENCE_S:
            words = "the connection was lost, and the queue does not come back"
            raise Unavailable(words) from None
        return PAUSE_S


class Patience:
    """Tries to reach a server for so many seconds."""

    def __init__(self, patience: float) -> None:
        self._deadline = time.monotonic() + patience

    def pause_after(self, error: Unavailable) -> float:
        """Seconds until the next try; raises `error` when there is none."""
        if time.monotonic() >= self._deadline:
            raise error
        return PAUSE_S
