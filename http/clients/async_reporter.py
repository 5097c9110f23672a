"""Hearing of what happens, in a program of coroutines: subscriptions, and callbacks."""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from ...actors.api.awaited import OUTAGE_PATIENCE_S, Awaited, BatchResults, Callback
from ...actors.api.reporter import ENDS_AHEAD, FAILED, callbacks_of
from ...actors.base.mailbox import Closed
from ...actors.core.intake import arguments
from ...actors.core.model.errors import QueueError, Unavailable
from ...actors.core.model.event_names import ENDS
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import Event, Task
from .async_ends import AsyncLeave, ending, gather
from .async_reader import AsyncMailbox, end

log = logging.getLogger("ollama_queue")


class AsyncSubscription:
    """The queue's events from now on: `async for` over it, or `await get()`, in one task.

    A restart of the queue does not end it; what happened meanwhile is not told. It ends when it
    or its client is closed. One that is not read in time raises `Closed`: it has `lagged`. An
    async context manager that closes itself. Made by `AsyncClient.subscribe`.
    """

    def __init__(self, put: Callable[[AsyncMailbox[Event], float], Awaitable[AsyncLeave]]) -> None:
        self._put = put
        self._mailbox = AsyncMailbox[Event]()
        self._leave: AsyncLeave | None = None
        self._is_closed = False

    async def begin(self) -> Self:
        """Subscribe; `AsyncClient.subscribe` has done it already."""
        self._leave = await self._put(self._mailbox, 0.0)
        return self

    async def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises `TimeoutError` after `timeout` seconds, `Closed` at the end."""
        timeout = arguments.seconds(timeout, "timeout")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            try:
                return await self._mailbox.get(left)
            except TimeoutError:
                raise arguments.late("nothing came", timeout) from None
            except Closed as closed:
                if self._is_closed or closed.message != "restarted":
                    raise
            await self._begin_anew(deadline)

    async def _begin_anew(self, deadline: float | None) -> None:
        left = OUTAGE_PATIENCE_S if deadline is None else deadline - time.monotonic()
        mailbox = AsyncMailbox[Event]()
        try:
            leave = await self._put(mailbox, min(max(left, 0.0), OUTAGE_PATIENCE_S))
        except Unavailable:
            if left < OUTAGE_PATIENCE_S:
                raise TimeoutError("the queue is away") from None
            raise
        self._mailbox, self._leave = mailbox, leave
        if self._is_closed:
            await self.close()

    async def close(self) -> None:
        """End it: whoever reads it comes to the end."""
        self._is_closed = True
        self._mailbox.close("unsubscribed")
        if self._leave is not None:
            await self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            try:
                yield await self.get()
            except Closed as closed:
                if closed.message == "lagged":
                    raise
                return


class AsyncReporter:
    """Calls back at the end of tasks: in the order of their ends, one after another in one task.

    It subscribes once, whatever the number of tasks, and reads then: at the start and after each
    restart of the queue. A callback may be a plain function or give something to await.
    """

    def __init__(
        self,
        listen: Callable[..., Awaitable[AsyncLeave]],
        read: Callable[[str], Awaitable[Task]],
        read_page: Callable[[TaskFilter], Awaitable[TaskPage]],
    ) -> None:
        self._listen, self._read, self._read_page = listen, read, read_page
        self._awaited = Awaited()
        self._mailbox = AsyncMailbox[Any](ENDS_AHEAD)
        self._leave: AsyncLeave | None = None
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> Self:
        self._leave = await self._listen(self._mailbox, ENDS)
        self._task = asyncio.create_task(self._run(), name="ollama-queue-callbacks")
        return self

    @property
    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def submit(
        self, submit: Callable[[], Awaitable[list[str]]], callback: Callback | BatchResults
    ) -> list[str]:
        """Submit tasks, of which `submit` returns the ids, and await the end of each."""
        late: Collection[str] = ()
        expected = self._awaited.expect()
        try:
            ids = await submit()
            late = self._awaited.known(ids, callback, expected)
        finally:
            self._awaited.settled()
        for task_id in late:
            self._mailbox.put(task_id)  # lost only when the mailbox is replaced: then all are read
        return ids

    async def add(self, task_id: str, callback: Callback) -> None:
        """Await the end of a task that there is already."""
        ended: list[Task] = []

        async def find() -> list[str]:
            task = await self._read(task_id)
            if task.status.is_final:
                ended.append(task)
            return [task.id]

        await self.submit(find, callback)
        for task in ended:
            self._mailbox.put(task)

    async def close(self) -> None:
        self._is_closed = True
        self._mailbox.close("unsubscribed")
        if self._leave is not None:
            await self._leave()
        if self._task is not None and self._task is not asyncio.current_task():
            await end(self._task)

    async def _run(self) -> None:
        try:
            while not self._is_closed:
                try:
                    await self._look_at_all()
                    while True:
                        item = await self._mailbox.get()
                        if isinstance(item, str):
                            await self._look(item)
                        else:
                            await self._hear((item if isinstance(item, Task) else item.task).id)
                except (Closed, Unavailable) as lost:
                    if not await self._begin_anew(lost):
                        break
        finally:
            if self._awaited:
                log.warning("%d tasks are not reported: the client is closed", len(self._awaited))

    async def _begin_anew(self, lost: QueueError) -> bool:
        """False when there is nothing more to hear."""
        if self._is_closed:
            return False
        if self._leave is not None:
            await self._leave()
        self._awaited.renewed()
        self._mailbox = AsyncMailbox[Any](ENDS_AHEAD)
        try:
            self._leave = await self._listen(self._mailbox, ENDS, patience=OUTAGE_PATIENCE_S)
        except Unavailable as error:
            log.error("no callbacks any more: %s", error.message)
            return False
        return True

    async def _look_at_all(self) -> None:
        for task_id in self._awaited.ids():
            await self._look(task_id)

    async def _hear(self, task_id: str) -> None:
        """A task has ended."""
        who = self._awaited.of(task_id)
        full = [each for each in who if isinstance(each, BatchResults) and each.hear(task_id)]
        await self._tell(task_id, [*full, *callbacks_of(who)])

    async def _look(self, task_id: str) -> None:
        """A task may have ended."""
        await self._tell(task_id, self._awaited.of(task_id))

    async def _tell(self, task_id: str, who: Sequence[Callback | BatchResults]) -> None:
        """Those of them for whom all has ended."""
        for each in who:
            if isinstance(each, BatchResults):
                await self._gather(each)
        if callbacks_of(who) and (result := await ending(self._read, task_id)) is not None:
            for callback in self._awaited.take(task_id):
                await self._call(task_id, partial(callback, result))

    async def _gather(self, batch: BatchResults) -> None:
        await gather(batch, self._read, self._read_page)
        if batch.is_complete:
            self._awaited.forget(batch)
            await self._call(next(iter(batch.ids)), batch.call)

    async def _call(self, task_id: str, callback: Callable[[], object]) -> None:
        try:
            answer = callback()
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            log.exception(FAILED, task_id)
