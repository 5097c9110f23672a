"""The verbs of `AsyncClient` that are made of others."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from ollama_queue.actors.awaited import Callback, Gathering
from ollama_queue.actors.core import arguments
from ollama_queue.actors.core.arguments import AnyTask, OfTask, Tasks
from ollama_queue.actors.core.errors import Conflict
from ollama_queue.actors.core.listing import TaskFilter, TaskPage
from ollama_queue.actors.core.records import (
    BatchSubmitted,
    Chunk,
    Submitted,
    Task,
    TaskResult,
)
from ollama_queue.actors.core.submission import parse_time
from ollama_queue.actors.verbs import later, result_of, scheduled
from ollama_queue.http.async_channels import AsyncChannels
from ollama_queue.http.async_reader import AsyncMailbox
from ollama_queue.http.async_reporter import AsyncReporter, AsyncSubscription, Leave


class AsyncListener:
    """Needs `submit`, `submit_batch`, `wait`, `get_task`, `list_page`, `stream_task`, `listen` and
    `close`.

    An async context manager that closes itself.
    """

    def __init__(self) -> None:
        self._subscriptions: WeakSet[AsyncSubscription] = WeakSet()
        self._channels = AsyncChannels()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        """What belongs to one event loop, made anew."""
        self._reporter: AsyncReporter | None = None
        self._reporter_lock = asyncio.Lock()

    def _enter(self) -> None:
        """The event loop that runs is this client's from now on; one before it is over.

        Raises `Conflict` where that runs as well, or where none does.
        """
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            raise Conflict(
                "AsyncClient needs asyncio; with trio, use Client and trio.to_thread"
            ) from None
        if here is self._loop:
            return
        if self._loop is not None:
            if self._loop.is_running():
                raise Conflict("this AsyncClient is used in another event loop: make one for each")
            self._begin()
        self._loop = here

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        raise NotImplementedError

    async def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        raise NotImplementedError

    async def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        raise NotImplementedError

    async def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        raise NotImplementedError

    async def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        raise NotImplementedError

    async def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        raise NotImplementedError

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> AsyncGenerator[Chunk, None]:
        raise NotImplementedError

    async def listen(
        self,
        mailbox: AsyncMailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        patience: float = 0.0,
    ) -> Leave:
        """Put events into `mailbox` from now on; returns how to leave.

        Tries for `patience` seconds where the queue is out of reach.
        """
        raise NotImplementedError

    # --- submitting -----------------------------------------------------------------------------

    async def submit_task(self, new: AnyTask) -> str:
        return (await self.submit(new)).task_id

    async def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        return await self.submit_task(scheduled(new, at))

    async def submit_batch_tasks(
        self, tasks: Iterable[AnyTask], *, timeout: float | None = None
    ) -> list[TaskResult]:
        timeout = arguments.seconds(timeout, "timeout")
        deadline = None if timeout is None else time.monotonic() + timeout
        results = []
        for task_id in (await self.submit_batch(tasks)).task_ids:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            results.append(result_of(await self.wait(task_id, timeout=left)))
        return results

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None
    ) -> AsyncGenerator[Chunk, None]:
        wanted, limit = arguments.task(new), arguments.seconds(timeout, "timeout")

        async def chunks() -> AsyncGenerator[Chunk, None]:
            task_id = await self.submit_task(wanted)
            async with aclosing(self.stream_task(task_id, timeout=limit)) as stream:
                async for chunk in stream:
                    yield chunk

        return chunks()

    # --- events ---------------------------------------------------------------------------------

    async def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> AsyncSubscription:
        names, ids = arguments.events(events), arguments.watched(tasks)

        async def put(mailbox: AsyncMailbox[Any], patience: float) -> Leave:
            return await self.listen(mailbox, names, ids, patience)

        subscription = AsyncSubscription(put)
        self._subscriptions.add(subscription)
        return await subscription.begin()

    async def unsubscribe(self, subscription: AsyncSubscription) -> None:
        await arguments.record(subscription, AsyncSubscription, "subscription").close()

    # --- results --------------------------------------------------------------------------------

    async def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        arguments.callback(callback)

        async def submit() -> list[str]:
            return [await self.submit_task(new)]

        (task_id,) = await self._reported(submit, callback)
        return task_id

    async def submit_task_with_channel(
        self, new: AnyTask, channel: "asyncio.Queue[TaskResult]"
    ) -> str:
        return await self.submit_task_with_callback(new, self._channels.lane(channel))

    async def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        if callback is None:
            return (await self.submit_batch(tasks)).task_ids
        gathering = Gathering(arguments.callback(callback))

        async def submit() -> list[str]:
            return gathering.of(await self.submit_batch(tasks))

        return await self._reported(submit, gathering)

    async def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        parse_time(at, "at")
        return await self.submit_batch_tasks_async(later(tasks, at), callback)

    async def _reported(
        self, submit: Callable[[], Awaitable[list[str]]], callback: Callback | Gathering
    ) -> list[str]:
        self._enter()
        async with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive:
                self._reporter = await AsyncReporter(
                    self.listen, self.get_task, self.list_page
                ).begin()
            reporter = self._reporter
        return await reporter.submit(submit, callback)

    async def _hang_up(self) -> None:
        """End all subscriptions and callbacks."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        if self._reporter is not None:
            await self._reporter.close()
