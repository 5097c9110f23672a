"""Results on their way into an `asyncio.Queue` of the program's, which may be full."""

import asyncio
import inspect
import logging
import queue
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

from ...actors.api.channels import FAILED
from ...actors.core.intake import arguments
from ...actors.core.model.tasks import TaskResult

log = logging.getLogger("ollama_queue")

LOOK_AGAIN_S = 0.05  # a full queue of threads, which nobody can await


class AsyncChannels:
    """As `Channels`, in one event loop."""

    def __init__(self) -> None:
        self._writers: WeakValueDictionary[int, AsyncChannelWriter] = WeakValueDictionary()

    def writer(self, channel: Any) -> "AsyncChannelWriter":
        """The way into a channel, the same one as long as anybody uses it. Raises `Invalid`."""
        writer = self._writers.get(id(channel))
        if writer is None:
            writer = self._writers[id(channel)] = AsyncChannelWriter(channel)
        return writer


class AsyncChannelWriter:
    """Puts results into one channel, in order. While it is full they wait here, and a task of its
    own puts them in as they are read."""

    def __init__(self, channel: Any) -> None:
        self._put, self._put_now = arguments.channel(channel)
        self._channel = channel  # as long as this lives, no other has its id
        self._waiting: deque[TaskResult] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, result: TaskResult) -> None:
        if self._task is not None and not self._task.done():
            self._waiting.append(result)
            return
        try:
            answer = self._put_now(result)
            if inspect.isawaitable(answer):
                await answer
        except (asyncio.QueueFull, queue.Full):
            self._waiting.append(result)
            self._task = asyncio.create_task(self._pour(), name="ollama-queue-channel")

    async def _pour(self) -> None:
        while self._waiting:
            try:
                if inspect.iscoroutinefunction(self._put):
                    await self._put(self._waiting[0])
                else:
                    self._put_now(self._waiting[0])
            except queue.Full:
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            except Exception:  # the channel is shut down, say: nothing goes in any more
                log.exception(FAILED)
            self._waiting.popleft()
