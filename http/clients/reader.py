"""What the server says by itself, read by `Client`: streams and events.

A thread of its own reads each answer into a mailbox, so that whoever waits has exact timeouts and
can be told to stop.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import httpx

from ...actors.base.mailbox import Closed, Mailbox
from ...actors.base.thread_pool import begin
from ...actors.core.model.errors import Unavailable
from ...actors.core.model.tasks import Chunk
from ..sse import Frame, Parser
from .frames import BROKEN, CHUNKS_AHEAD, Patience, StreamPosition


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
        try:
            begin(self)
        except Unavailable:
            response.close()
            raise

    def run(self) -> None:
        parser = Parser()
        try:
            for data in self._response.iter_raw():
                for frame in parser.feed(data):
                    self._hand_on(frame)
                if self._is_over:
                    break
        except BROKEN:
            pass
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
        if connection is not None and self.is_alive():  # after a fork it is the parent's
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def read_stream(
    read: Callable[[Mapping[str, str], Mailbox[Chunk]], Reading], timeout: float | None
) -> Generator[Chunk, None, None]:
    """The chunks of a task; comes again behind the last one when the connection is lost.

    `read` begins to, with these headers; it raises `QueueError`.
    """
    place = StreamPosition()
    while True:
        mailbox, reading = Mailbox[Chunk](CHUNKS_AHEAD), None
        try:
            reading = read(place.headers, mailbox)
            while True:
                piece = mailbox.get(timeout)
                place.passed(piece)
                yield piece
                if piece.done:
                    return
        except (Closed, Unavailable) as lost:
            time.sleep(place.pause_after(lost))
        finally:
            if reading is not None:
                reading.close()


def patiently(
    open_it: Callable[[], httpx.Response], patience: float, client: httpx.Client
) -> httpx.Response:
    """Try for so many seconds to reach the server, while the client is open."""
    tries = Patience(patience)
    while True:
        try:
            return open_it()
        except Unavailable as error:
            if client.is_closed:
                raise
            time.sleep(tries.pause_after(error))
