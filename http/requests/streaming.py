"""Responses that go on and on, and how it is noticed that a client has disconnected."""

from collections.abc import Callable, Iterator
from typing import Any

import bottle

from .. import sse

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def on_disconnect(leave: Callable[[], None]) -> Callable[[], None]:
    """Have `leave` called once the client of this request has gone; returns how to stop that.

    It must not wait. A server that cannot notice it never calls it.
    """
    watch: Any = bottle.request.environ.get("ollama_queue.on_disconnect")
    forget: Callable[[], None] = watch(leave) if watch else lambda: None
    return forget


class StreamingResponse:
    """A response that goes on and on; `close` is called once it has ended, well or not."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None], media: str) -> None:
        self._pieces, self._close = pieces, close
        bottle.response.content_type = media
        for name, value in HEADERS.items():
            bottle.response.set_header(name, value)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._close()


class EventStream(StreamingResponse):
    """Server-sent events; `leave` ends what they are made from, from any thread.

    They begin at once, with a comment: otherwise the client would have no head until something
    happens.
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
