"""What the server says by itself, read by `AsyncClient`: streams and events.

A task of its own reads each answer into a mailbox, so that whoever waits may give up at any moment
and lose nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx

from ...actors.base.mailbox import Closed
from ...actors.core.intake.arguments import late
from ...actors.core.model.errors import Unavailable
from ...actors.core.model.tasks import Chunk
from ..sse import Frame, Parser
from .frames import BROKEN, CHUNKS_AHEAD, Patience, StreamPosition

T = TypeVar("T")


class AsyncMailbox(Generic[T]):
    """A `Mailbox` inside one event loop; one task takes from it."""

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._reason: str | None = None
        self._changed = asyncio.Event()

    def put(self, item: T) -> bool:
        """False when the mailbox is closed, or closes now because its owner is too slow."""
        if self._reason is None and len(self._items) >= self._size:
            self.close("lagged")
        if self._reason is None:
            self._items.append(item)
            self._changed.set()
        return self._reason is None

    def close(self, reason: str) -> None:
        """Say why nothing more comes; what is in the mailbox can still be taken."""
        self._reason = self._reason or reason
        self._changed.set()

    async def get(self, timeout: float | None = None) -> T:
        """The next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not self._items:
                    if self._reason is not None:
                        raise Closed(self._reason)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise late("nothing came", timeout) from None
        return self._items.popleft()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; nothing is left to do where its event loop is over."""
    if task.get_loop() is asyncio.get_running_loop():
        task.cancel()
        await asyncio.wait([task])


class AsyncReading:
    """Reads one answer into `mailbox`, and closes that as `restarted` when it has ended.

    `take` makes an item of a frame, None of one that is to be passed over.
    """

    def __init__(
        self, response: httpx.Response, mailbox: AsyncMailbox[Any], take: Callable[[Frame], Any]
    ) -> None:
        self._response, self._mailbox, self._take = response, mailbox, take
        self._task = asyncio.create_task(self._read(), name="ollama-queue-reading")

    async def _read(self) -> None:
        parser = Parser()
        try:
            async for data in self._response.aiter_raw():
                for frame in parser.feed(data):
                    item = self._take(frame)
                    if item is not None and not self._mailbox.put(item):
                        return
        except BROKEN:
            pass
        finally:
            self._mailbox.close("restarted")
            with contextlib.suppress(Exception):
                await self._response.aclose()

    async def close(self) -> None:
        self._mailbox.close("unsubscribed")
        await end(self._task)
        with contextlib.suppress(Exception):
            await self._response.aclose()  # if it was closed before it began to read


async def read_stream(
    read: Callable[[Mapping[str, str], AsyncMailbox[Chunk]], Awaitable[AsyncReading]],
    timeout: float | None,
) -> AsyncGenerator[Chunk, None]:
    """The chunks of a task; comes again behind the last one when the connection is lost.

    `read` begins to, with these headers; it raises `QueueError`.
    """
    place = StreamPosition()
    while True:
        mailbox, reading = AsyncMailbox[Chunk](CHUNKS_AHEAD), None
        try:
            reading = await read(place.headers, mailbox)
            while True:
                piece = await mailbox.get(timeout)
                place.passed(piece)
                yield piece
                if piece.done:
                    return
        except (Closed, Unavailable) as lost:
            await asyncio.sleep(place.pause_after(lost))
        finally:
            if reading is not None:
                await reading.close()


async def patiently(
    open_it: Callable[[], Awaitable[httpx.Response]], patience: float, client: httpx.AsyncClient
) -> httpx.Response:
    """Try for so many seconds to reach the server, while the client is open."""
    tries = Patience(patience)
    while True:
        try:
            return await open_it()
        except Unavailable as error:
            if client.is_closed:
                raise
            await asyncio.sleep(tries.pause_after(error))
