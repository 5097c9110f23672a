"""The client's end of what the server says by itself: streams and events, over a lost connection.

A thread of its own reads each answer into a mailbox, so that whoever waits has exact timeouts and
can be told to stop.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from ollama_queue.actors.core.errors import QueueError, Unavailable
from ollama_queue.actors.core.records import Chunk, Event, Status, Task
from ollama_queue.actors.mailbox import Closed, Mailbox
from ollama_queue.http.sse import Frame, Parser

OUTAGE_PATIENCE_S = 30.0  # a stream outlives a restart of the server
PAUSE_S = 0.2  # between two tries to reach it
SILENCE_S = 20.0  # without even a comment: the connection is dead


class End(Struct, frozen=True):
    """The last event of a stream."""

    task_id: str
    status: Status
    error: str | None


class _ShownEvent(Event, frozen=True):
    task: Task | None


_decode_end = msgspec.json.Decoder(End).decode
_decode_event = msgspec.json.Decoder(_ShownEvent).decode


class Reading(threading.Thread):
    """Reads one answer into `mailbox`, and closes that as `restarted` when it has ended.

    `take` makes an item of a frame, None of one that is to be passed over.
    """

    def __init__(
        self, response: httpx.Response, mailbox: Mailbox[Any], take: Callable[[Frame], Any]
    ) -> None:
        super().__init__(name="ollama-queue-reading", daemon=True)
        self._response, self._mailbox, self._take = response, mailbox, take
        self._is_over = False
        self.start()

    def run(self) -> None:
        parser = Parser()
        try:
            for data in self._response.iter_raw():
                for frame in parser.feed(data):
                    self._hand_on(frame)
                if self._is_over:
                    break
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError, EOFError):
            pass  # whoever reads the mailbox comes again
        finally:
            self._mailbox.close("restarted")
            with contextlib.suppress(Exception):
                self._response.close()

    def _hand_on(self, frame: Frame) -> None:
        item = self._take(frame)
        if item is not None and not self._mailbox.put(item):
            self._is_over = True

    def close(self) -> None:
        """Stop, from any thread; the thread that reads lets go of the connection."""
        self._is_over = True
        self._mailbox.close("unsubscribed")
        stream = self._response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


# --- a task's reply -----------------------------------------------------------------------------


def read_stream(
    read: Callable[[dict[str, str], Mailbox[Chunk]], Reading], timeout: float | None
) -> Iterator[Chunk]:
    """The chunks of a task; comes again behind the last one when the connection is lost.

    `read` begins to, with these headers; it raises `QueueError`.
    """
    place: dict[str, str] = {}
    lost_at: float | None = None
    while True:
        mailbox, reading = Mailbox[Chunk](size=100_000), None
        try:
            reading = read(place, mailbox)
            while True:
                piece = mailbox.get(timeout)
                lost_at = None
                if not (piece.restart or piece.done):
                    place = {"Last-Event-ID": piece.id}
                yield piece
                if piece.done:
                    return
        except (Closed, Unavailable) as lost:
            lost_at = _again(lost, lost_at)
        finally:
            if reading is not None:
                reading.close()


def chunk(frame: Frame) -> Chunk | None:
    if frame.event == "chunk":
        return Chunk(frame.id or "", msgspec.json.decode(frame.data))
    if frame.event == "restart":
        return Chunk("", restart=True)
    if frame.event == "end":
        end = _decode_end(frame.data)
        return Chunk("", done=True, error=end.error, status=end.status)
    return None


def _again(lost: QueueError, lost_at: float | None) -> float:
    """Pause before the next try; raises `Unavailable` when there have been enough."""
    if lost.message == "unsubscribed":
        raise Unavailable("this client is closed") from None
    now = time.monotonic()
    if lost_at is None:
        if isinstance(lost, Unavailable):
            raise lost
        lost_at = now
    if now - lost_at > OUTAGE_PATIENCE_S:
        raise Unavailable("the connection was lost, and the queue does not come back") from None
    time.sleep(PAUSE_S)
    return lost_at


# --- events -------------------------------------------------------------------------------------


def patiently(open_it: Callable[[], httpx.Response], patience: float) -> httpx.Response:
    """Try for so many seconds to reach the server."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return open_it()
        except Unavailable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_S)


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
