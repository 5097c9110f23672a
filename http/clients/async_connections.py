"""The I/O of `AsyncClient`: HTTP connections in one event loop."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import httpx

from ...actors.core.intake import arguments
from ...actors.core.model.errors import Conflict, Unavailable
from ...actors.routines.steps import Source, Step
from . import connection, protocol
from .connection_pool import ConnectionPool
from .event_loop import AsyncMailbox, AsyncTake, end
from .frames import BROKEN, Intake
from .requests import Request


class AsyncConnections:
    """The connections to the server at `url`.

    `timeout` (seconds) limits each request, in addition to its `patience_s`. Connections may be
    used in several event loops one after another, and end with their loop. Once `is_closed` is
    set, no request is sent.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None,
        api_key: str | None = None,
    ) -> None:
        if transport is not None:
            arguments.record(transport, httpx.AsyncBaseTransport, "transport")
        self._url, self._transport = url, transport
        self._verify = connection.verification(url)
        self._composer = connection.Composer(url, timeout, api_key)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = self._dial()
        self._readings: WeakSet[AsyncReading] = WeakSet()
        self.is_closed = False

    def _dial(self) -> httpx.AsyncBaseTransport:
        return self._transport or ConnectionPool(self._verify)

    def enter(self) -> asyncio.AbstractEventLoop:
        """Switch to the running event loop and return it. The previous one must have ended.

        Raises `Conflict` if the previous loop is still running, or if no loop is running.
        """
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise Conflict(
                "AsyncClient needs asyncio; with trio, use Client and trio.to_thread"
            ) from None
        if here is not self._loop:
            if self._loop is not None:
                if self._loop.is_running():
                    raise Conflict(
                        "this AsyncClient is used in another event loop: make one for each"
                    )
                self._http = self._dial()
            self._loop = here
        return here

    @property
    def takes(self) -> Mapping[type[Step[Any]], AsyncTake]:
        """The functions that execute the protocol's steps."""

        def taking(expand: Callable[[Any], Any]) -> AsyncTake:
            return lambda loop, step: loop.run(expand(step))

        return {
            protocol.Send: lambda _, step: self._send(step.request),
            protocol.Open: lambda _, step: self._open(step),
            protocol.IsClosed: lambda _, step: self.is_closed,
            **{kind: taking(expand) for kind, expand in protocol.EXPANDED.items()},
        }

    async def close(self) -> None:
        self.is_closed = True
        for reading in list(self._readings):
            await reading.close()
        await self._http.aclose()

    async def _send(self, request: Request[Any]) -> httpx.Response:
        return await self._answered(self._composer.whole(request), is_whole=True)

    async def _open(self, step: protocol.Open) -> Source:
        response = await self._answered(self._composer.streamed(step.request), is_whole=False)
        mailbox = AsyncMailbox[Any](step.ahead)
        reading = AsyncReading(response, Intake(mailbox, step.take))
        self._readings.add(reading)
        return Source(mailbox, reading.close)

    async def _answered(self, request: httpx.Request, *, is_whole: bool) -> httpx.Response:
        if self.is_closed:
            raise Unavailable("this client is closed")
        self.enter()
        try:
            response = await self._http.handle_async_request(request)
            if is_whole or not response.is_success:
                async with contextlib.aclosing(
                    response
                ):  # also when reading fails, or is cancelled
                    await response.aread()
        except httpx.TransportError as error:
            raise connection.lost(self._url, error) from None
        if not response.is_success:
            raise connection.refusal(response)
        return response


class AsyncReading:
    """Reads one streamed response in a separate task.

    A caller that waits for an item can stop waiting at any time without losing data.
    """

    def __init__(self, response: httpx.Response, intake: Intake) -> None:
        self._response, self._intake = response, intake
        self._task = asyncio.create_task(self._read(), name="ollama-queue-reading")

    async def _read(self) -> None:
        try:
            async for data in self._response.aiter_bytes():
                if not self._intake.feed(data):
                    return
        except BROKEN:
            pass
        finally:
            self._intake.end()
            with contextlib.suppress(Exception):
                await self._response.aclose()

    async def close(self) -> None:
        self._intake.mailbox.close("unsubscribed")
        await end(self._task)
        with contextlib.suppress(Exception):
            await self._response.aclose()  # if the task was cancelled before it started
