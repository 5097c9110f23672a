"""A response that goes on and on, as server-sent events."""

from collections.abc import Callable, Iterator
from typing import Any

import bottle

from ollama_queue.http import sse

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Answer:
    """A response that goes on and on; `leave` ends what it is made from, from any thread.

    It begins at once, with a comment: otherwise the client would have no head until something
    happens.
    """

    def __init__(self, frames: Iterator[bytes], leave: Callable[[], None]) -> None:
        self._frames, self._leave = frames, leave
        environ = bottle.request.environ
        watch: Any = environ.get("ollama_queue.watch_departure")
        self._forget = watch(leave) if watch else lambda: None
        bottle.response.content_type = "text/event-stream"
        for name, value in HEADERS.items():
            bottle.response.set_header(name, value)

    def __iter__(self) -> Iterator[bytes]:
        yield sse.SILENCE
        yield from self._frames

    def close(self) -> None:
        self._forget()
        self._leave()
