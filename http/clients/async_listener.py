"""The verbs of `AsyncClient` that are made of others."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from ...actors.api.awaited import BatchResults, Callback, following, members
from ...actors.api.ends import OnProgress, waits
from ...actors.api.task_stream import AsyncTaskStream
from ...actors.api.verbs import later, scheduled
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import AnyTask, OfBatch, OfTask, Tasks
from ...actors.core.intake.submission import parse_time
from ...actors.core.model import limits
from ...actors.core.model.errors import Conflict, QueueError
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Chunk,
    Submitted,
    Task,
    TaskResult,
)
from . import async_ends
from .async_channels import AsyncChannels
from .async_ends import AsyncLeave
from .async_reader import AsyncMailbox
from .async_reporter import AsyncReporter, AsyncSubscription


class AsyncListener:
    """Needs `submit`, `submit_batch`, `get_batch`, `get_task`, `cancel_task`, `list_page`,
    `stream_task`, `listen` and `close`.

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

    async def get_batch(self, batch_id: OfBatch) -> Batch:
        raise NotImplementedError

    async def cancel_task(self, task_id: OfTask) -> Task:
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
    ) -> AsyncLeave:
        """Put events into `mailbox` from now on; returns how to leave.

        Tries for `patience` seconds where the queue is out of reach.
        """
        raise NotImplementedError

    # --- submitting -----------------------------------------------------------------------------

    async def submit_task(self, new: AnyTask) -> str:
        return (await self.submit(new)).task_id

    async def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        return await self.submit_task(scheduled(new, at))

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> AsyncTaskStream:
        wanted, limit = arguments.task(new), arguments.seconds(timeout, "timeout")
        cancel = self.cancel_task if arguments.flag(cancel_on_close, "cancel_on_close") else None
        submit = self.submit_task if cancel is None else self._submit_or_cancel
        return AsyncTaskStream(
            lambda: submit(wanted), lambda task_id: self.stream_task(task_id, timeout=limit), cancel
        )

    async def _submit_or_cancel(self, new: AnyTask) -> str:
        """Where this is cancelled on the way, so is the task, once its id is known."""
        self._enter()
        submitting = asyncio.ensure_future(self.submit_task(new))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            with suppress(QueueError):
                await self.cancel_task(await submitting)
            raise

    # --- events ---------------------------------------------------------------------------------

    async def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> AsyncSubscription:
        names, ids = arguments.events(events), arguments.watched(tasks)

        async def put(mailbox: AsyncMailbox[Any], patience: float) -> AsyncLeave:
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
        return await self.submit_task_with_callback(new, self._channels.writer(channel))

    async def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        if callback is None:
            return (await self.submit_batch(tasks)).task_ids
        gathering = BatchResults(arguments.callback(callback))

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

    async def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        arguments.callback(callback)
        wanted = arguments.task_id(task_id)
        await (await self._reporting()).add(wanted, callback)

    async def _reported(
        self, submit: Callable[[], Awaitable[list[str]]], callback: Callback | BatchResults
    ) -> list[str]:
        return await (await self._reporting()).submit(submit, callback)

    async def _reporting(self) -> AsyncReporter:
        self._enter()
        async with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive:
                self._reporter = await AsyncReporter(
                    self.listen, self.get_task, self.list_page
                ).begin()
            return self._reporter

    # --- waiting for many -----------------------------------------------------------------------

    async def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[TaskResult]:
        timeout, on_progress = waits(timeout, on_progress)
        return await self.wait_batch(
            await self.submit_batch(tasks), timeout=timeout, on_progress=on_progress
        )

    async def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[TaskResult]:
        timeout, on_progress = waits(timeout, on_progress)
        made = await self._members(batch_id)
        return await async_ends.gathered(
            self.listen, self.get_task, self.list_page, made, timeout, on_progress
        )

    async def _members(self, batch_id: OfBatch) -> BatchSubmitted:
        name, ids = arguments.batch_id(batch_id), arguments.members(batch_id)
        if ids is not None:
            return BatchSubmitted(name, ids)
        await self.get_batch(name)  # there is one
        ids = []
        wanted: TaskFilter | None = members(name)
        while wanted is not None:
            page = await self.list_page(wanted)
            ids += [task.id for task in page.tasks]
            wanted = following(wanted, page)
        return BatchSubmitted(name, ids[::-1])

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> AsyncGenerator[TaskResult, None]:
        wanted = arguments.ids(ids, "ids", limits.AWAITED, least=0)
        timeout = arguments.seconds(timeout, "timeout")
        return async_ends.completed(self.listen, self.get_task, wanted, timeout)

    async def _hang_up(self) -> None:
        """End all subscriptions and callbacks."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        if self._reporter is not None:
            await self._reporter.close()
