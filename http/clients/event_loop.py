"""Runs routines for `AsyncClient`: executes their steps in an event loop."""

import asyncio
import inspect
import logging
import queue
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ...actors.api.threads import CALLBACK_FAILED, COMMON_TAKES
from ...actors.base.mailbox import Closed
from ...actors.core.intake.arguments import late
from ...actors.core.model.tasks import Event
from ...actors.routines import steps
from ...actors.routines.awaited import BatchResults, Callback
from ...actors.routines.callbacks import Callbacks
from ...actors.routines.hearing import Hearing
from ...actors.routines.steps import Drive, Routine, Step

log = logging.getLogger("ollama_queue")

T = TypeVar("T")
AsyncTake = Callable[["EventLoop", Any], Any]
"""Executes a step. Its result is awaited if it is awaitable."""


class EventLoop:
    """Runs routines in the awaiting task.

    `takes` maps the steps that need a queue to the functions that execute them.
    """

    def __init__(self, takes: Mapping[type[Step[Any]], AsyncTake]) -> None:
        self._takes = {**_TAKES, **takes}

    async def run(self, routine: Routine[T]) -> T:
        """Run `routine` and return its result."""
        drive = Drive(routine)
        step = drive.send(None)
        while step is not None:
            try:
                answer = self._takes[type(step)](self, step)
                if hasattr(answer, "__await__"):
                    answer = await answer
            except BaseException as error:
                step = drive.throw(error)
            else:
                step = drive.send(answer)
        return drive.result

    async def items(self, routine: Routine[None]) -> AsyncGenerator[Any, None]:
        """Run `routine` and yield the items it delivers."""
        drive, answer = Drive(routine), None
        step = drive.send(None)
        while step is not None:
            try:
                if isinstance(step, steps.Deliver):
                    yield step.item
                else:
                    answer = self._takes[type(step)](self, step)
                    if hasattr(answer, "__await__"):
                        answer = await answer
            except BaseException as error:
                step = drive.throw(error)
            else:
                step = drive.send(answer)


async def _call_back(_: EventLoop, step: steps.CallBack) -> None:
    try:
        answer = step.function()
        if inspect.isawaitable(answer):
            await answer
    except Exception:
        log.exception(CALLBACK_FAILED, step.task_id)


def _spawn(loop: EventLoop, step: steps.Spawn) -> None:
    task = asyncio.create_task(loop.run(step.routine()), name=step.name)
    _spawned.add(task)  # the event loop keeps only a weak reference
    task.add_done_callback(_spawned.discard)


_spawned: set[asyncio.Task[None]] = set()


async def _put_now(_: EventLoop, step: steps.PutNow) -> bool:
    try:
        answer = step.put_now(step.item)
        if inspect.isawaitable(answer):
            await answer
    except (asyncio.QueueFull, queue.Full):
        return False
    return True


async def _put(loop: EventLoop, step: steps.Put) -> bool:
    """Await an async `put`; for others, such as `queue.Queue`, try once without waiting."""
    if inspect.iscoroutinefunction(step.put):
        await step.put(step.item)
        return True
    return await _put_now(loop, steps.PutNow(step.put_now, step.item))


_TAKES: dict[type[Step[Any]], AsyncTake] = {
    **COMMON_TAKES,
    steps.Sleep: lambda _, step: asyncio.sleep(step.seconds),
    steps.CallBack: _call_back,
    steps.Spawn: _spawn,
    steps.PutNow: _put_now,
    steps.Put: _put,
}


class AsyncMailbox(Generic[T]):
    """A `Mailbox` for one event loop, read by one task."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._reason: str | None = None
        self._changed = asyncio.Event()

    def put(self, item: T) -> bool:
        """Add an item. False if the mailbox is closed, or is full and so closes as `lagged`."""
        if self._reason is None and len(self._items) >= self._size:
            self.close("lagged")
        if self._reason is None:
            self._items.append(item)
            self._changed.set()
        return self._reason is None

    def close(self, reason: str) -> None:
        """Close the mailbox for `reason`. Items already in it can still be read."""
        self._reason = self._reason or reason
        self._changed.set()

    async def get(self, timeout: float | None = None) -> T:
        """Return the next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""
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
    """Cancel a task and wait until it ends. Does nothing if its event loop has ended."""
    if task.get_loop() is asyncio.get_running_loop():
        task.cancel()
        await asyncio.wait([task])


class AsyncSubscription:
    """The queue's events from now on: `async for` over it, or `await get()`, in one task.

    It survives a restart of the queue, but misses the events during it. It ends when it or its
    client is closed. If it is read too slowly, it raises `Closed` with the message `lagged`. An
    async context manager: calls `close` on exit. Created by `AsyncClient.subscribe`.
    """

    def __init__(self, loop: EventLoop, hearing: Hearing) -> None:
        self._loop, self._hearing = loop, hearing

    async def get(self, timeout: float | None = None) -> Event:
        """Return the next event.

        Raises `TimeoutError` after `timeout` seconds, `Closed` when the subscription has ended.
        """
        event: Event = await self._loop.run(self._hearing.get(timeout))
        return event

    async def close(self) -> None:
        """End the subscription. Iterating over it stops."""
        await self._loop.run(self._hearing.close())

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
    """The task that runs all callbacks of one client.

    A callback may be a plain function or return an awaitable.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop, self._callbacks = loop, Callbacks()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> Self:
        await self._loop.run(self._callbacks.begin())
        run = self._loop.run(self._callbacks.run())
        self._task = asyncio.create_task(run, name="ollama-queue-callbacks")
        return self

    @property
    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def submit(
        self, submit: Callable[[], Awaitable[list[str]]], callback: Callback | BatchResults
    ) -> list[str]:
        """Call `submit`, which returns task ids, and await the end of each task."""
        return await self._loop.run(self._callbacks.submit(steps.Invoke(submit), callback))

    async def add(self, task_id: str, callback: Callback) -> None:
        """Await the end of an existing task."""
        await self._loop.run(self._callbacks.add(task_id, callback))

    async def close(self) -> None:
        await self._loop.run(self._callbacks.close())
        if self._task is not None and self._task is not asyncio.current_task():
            await end(self._task)
