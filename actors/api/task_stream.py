"""The streamed reply of a task submitted by `submit_streaming_task`."""

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any

from ..core.model.errors import Conflict, NotFound, QueueError
from ..core.model.tasks import Chunk

log = logging.getLogger("ollama_queue")


class TaskStream(Generator[Chunk, None, None]):
    """The chunks of a task's reply, as a generator. `task_id` is the task's id.

    Leaving it (`close`, `break`, or an error such as `TimeoutError`) before its last chunk does
    not stop the task, unless `cancel_on_close` was set. Created by `submit_streaming_task`.
    """

    def __init__(
        self,
        task_id: str,
        chunks: Generator[Chunk, None, None],
        cancel: Callable[[str], object] | None,
    ) -> None:
        self.task_id = task_id
        self._chunks, self._cancel = chunks, cancel
        self._pid = os.getpid()

    def send(self, _: None = None, /) -> Chunk:
        try:
            chunk = next(self._chunks)
        except BaseException:
            self.close()
            raise
        if chunk.done:
            self._cancel = None
        return chunk

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None, /) -> Chunk:
        self.close()
        return super().throw(kind, value, trace)

    def close(self) -> None:
        """Stop streaming. With `cancel_on_close`, cancel the task; may raise `Unavailable`."""
        cancel, self._cancel = self._cancel, None
        try:
            self._chunks.close()
        finally:
            if cancel is not None and os.getpid() == self._pid:  # after a fork, the parent's
                with suppress(Conflict, NotFound):  # it has already ended
                    cancel(self.task_id)

    def __del__(self) -> None:
        if self._cancel is not None:
            try:
                self.close()
            except QueueError as error:
                log.warning("could not cancel task %s: %s", self.task_id, error.message)


class AsyncTaskStream(AsyncGenerator[Chunk, None]):
    """The chunks of a task's reply, as an async generator. The first iteration submits the task.

    Leaving it (`aclose`, an error or a cancellation) before its last chunk does not stop the task,
    unless `cancel_on_close` was set. Created by `submit_streaming_task`.
    """

    def __init__(
        self,
        submit: Callable[[], Awaitable[str]],
        follow: Callable[[str], AsyncGenerator[Chunk, None]],
        cancel: Callable[[str], Awaitable[object]] | None,
    ) -> None:
        self._ids: list[str] = []
        # It must not refer to this object: once that is dropped, the event loop closes it.
        self._chunks = _submitted(submit, follow, cancel, self._ids)

    @property
    def task_id(self) -> str | None:
        """The task's id; None before it is submitted."""
        return self._ids[0] if self._ids else None

    async def asend(self, _: None = None, /) -> Chunk:
        return await anext(self._chunks)

    async def athrow(
        self, kind: Any, value: Any = None, trace: TracebackType | None = None, /
    ) -> Chunk:
        return await self._chunks.athrow(kind if value is None else value)

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def _submitted(
    submit: Callable[[], Awaitable[str]],
    follow: Callable[[str], AsyncGenerator[Chunk, None]],
    cancel: Callable[[str], Awaitable[object]] | None,
    ids: list[str],
) -> AsyncGenerator[Chunk, None]:
    task_id = await submit()
    ids.append(task_id)
    is_done = False
    try:
        async with aclosing(follow(task_id)) as chunks:
            async for chunk in chunks:
                is_done = chunk.done
                yield chunk
    finally:
        if cancel is not None and not is_done:
            with suppress(Conflict, NotFound):  # it has already ended
                await cancel(task_id)
