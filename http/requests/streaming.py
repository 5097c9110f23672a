"""Streaming responses, and notification when their client disconnects."""

from collections.abc import Callable, Iterable, Iterator

from ...actors.core.model.errors import QueueError
from .. import sse
from .exchange import current

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
WRITE = 64 << 10  # bytes of a stream in one write, about


def on_disconnect(leave: Callable[[], None]) -> Callable[[], None]:
    """Call `leave` when this request's client disconnects; returns a function that cancels this.

    `leave` must not block. A server that cannot detect disconnects never calls it.
    """
    watch = current().on_disconnect
    return watch(leave) if watch else lambda: None


def together(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join the parts into few writes. What precedes a `QueueError` of theirs is sent before it."""
    joined: list[bytes] = []
    size = 0
    try:
        for part in parts:
            joined.append(part)
            size += len(part)
            if size >= WRITE:
                yield b"".join(joined)
                joined, size = [], 0
    except QueueError:
        if size:
            yield b"".join(joined)
        raise
    if size:
        yield b"".join(joined)


class StreamingResponse:
    """A streaming response; `close` is called when it ends, successfully or not."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None], media: str) -> None:
        self._pieces, self._close = pieces, close
        current().response_headers |= {"Content-Type": media, **HEADERS}

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._close()


class EventStream(StreamingResponse):
    """Server-sent events; `leave` ends their source, from any thread.

    Starts with a comment: otherwise the client would receive no head until the first event.
    """

    def __init__(self, frames: Iterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(frames, leave, "text/event-stream")
        self._forget = on_disconnect(leave)

    def __iter__(self) -> Iterator[bytes]:
        yield sse.SILENCE
        yield from self._pieces

    def close(self) -> None:
        self._forget()
        super().close()
