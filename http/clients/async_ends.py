"""Waiting for the ends of many tasks, as coroutines: by one subscription."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from ...actors.api.awaited import BatchResults, WaitDeadline
from ...actors.api.ends import OnProgress, batch_waiting, unfinished
from ...actors.api.reporter import ENDS_AHEAD
from ...actors.api.verbs import result_of
from ...actors.base.mailbox import Closed
from ...actors.core.model.errors import NotFound, QueueError, Unavailable
from ...actors.core.model.event_names import ENDS
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import BatchSubmitted, Task, TaskResult
from .async_reader import AsyncMailbox

T = TypeVar("T")

AsyncLeave = Callable[[], Awaitable[None]]
AsyncListen = Callable[..., Awaitable[AsyncLeave]]
AsyncReadTask = Callable[[str], Awaitable[Task]]
ReadPage = Callable[[TaskFilter], Awaitable[TaskPage]]


async def ending(read: AsyncReadTask, task_id: str) -> TaskResult | None:
    """How a task ended; None when it has not."""
    try:
        task = await read(task_id)
    except NotFound as gone:
        return TaskResult(task_id, False, error=gone.message)
    return result_of(task) if task.status.is_final else None


async def gather(batch: BatchResults, read: AsyncReadTask, read_page: ReadPage) -> None:
    """Read the results that there are."""
    wanted: TaskFilter | None = batch.first_page()
    while wanted is not None:
        wanted = batch.take(wanted, await read_page(wanted))
    for task_id in batch.unlisted:
        if (result := await ending(read, task_id)) is not None:
            batch.add(result)


async def ends(
    listen: AsyncListen,
    waiting: WaitDeadline,
    look: Callable[[str | None], AsyncGenerator[T, None]],
) -> AsyncGenerator[T, None]:
    """What `look` makes of the id of each task that ends, and of None, where any may have ended
    unheard: at the start and after each loss of the queue."""
    while True:
        mailbox = AsyncMailbox[Any](ENDS_AHEAD)
        leave = await listen(mailbox, ENDS, waiting.followed, patience=waiting.patience_s)
        ended: str | None = None
        try:
            while True:
                async with aclosing(look(ended)) as found:
                    async for each in found:
                        yield each
                ended = await _next(mailbox, waiting)
        except (Closed, Unavailable) as lost:
            pause_s = waiting.pause_after(lost)
        finally:
            await leave()
        await asyncio.sleep(pause_s)


async def _next(mailbox: AsyncMailbox[Any], waiting: WaitDeadline) -> str:
    try:
        event = await mailbox.get(waiting.left_s)
    except TimeoutError:
        raise waiting.late() from None
    waiting.heard()
    return event.task.id  # type: ignore[no-any-return]


def completed(
    listen: AsyncListen, read: AsyncReadTask, ids: Sequence[str], timeout: float | None
) -> AsyncGenerator[TaskResult, None]:
    """The results of tasks, each as it ends; `timeout` is counted from here."""
    left = dict.fromkeys(ids)

    async def look(ended: str | None) -> AsyncGenerator[TaskResult, None]:
        for task_id in tuple(left) if ended is None else (ended,):
            if task_id in left and (result := await ending(read, task_id)) is not None:
                del left[task_id]
                yield result

    async def results() -> AsyncGenerator[TaskResult, None]:
        if left:
            async with aclosing(ends(listen, waiting, look)) as found:
                async for result in found:
                    yield result
                    if not left:
                        return

    waiting = WaitDeadline(
        ids, timeout, lambda: TimeoutError(unfinished(len(left), len(ids), timeout))
    )
    return results()


async def gathered(
    listen: AsyncListen,
    read: AsyncReadTask,
    read_page: ReadPage,
    made: BatchSubmitted,
    timeout: float | None,
    on_progress: OnProgress | None,
) -> list[TaskResult]:
    """The results of a batch once all have ended. Errors name the batch."""
    batch = BatchResults(list)
    batch.of(made)
    told = -1

    async def look(ended: str | None) -> AsyncGenerator[None, None]:
        if ended is None or batch.hear(ended):
            await gather(batch, read, read_page)
        yield

    try:
        async with aclosing(ends(listen, batch_waiting(batch, made, timeout), look)) as steps:
            async for _ in steps:
                if on_progress is not None and batch.done != told:
                    told = batch.done
                    answer = on_progress(told, batch.total)
                    if inspect.isawaitable(answer):
                        await answer
                if batch.is_complete:
                    break
    except QueueError as error:
        error.batch_id, error.task_ids = made.batch_id, made.task_ids
        raise
    return batch.call()  # type: ignore[no-any-return]
