"""Puts results into channels: queues that the caller owns and that may be full."""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

from ..core.intake import arguments
from ..core.model.tasks import TaskResult
from .steps import Log, Put, PutNow, Routine, Sleep, Spawn

LOOK_AGAIN_S = 0.05  # before retrying a full channel that cannot be waited for


class Channels:
    """The channels of one queue. A full channel blocks neither callbacks nor other channels.

    `run` runs a routine; `lock` is needed if `run` may run in several threads at once.
    """

    def __init__(
        self, run: Callable[[Routine[None]], Any], lock: AbstractContextManager[Any] | None = None
    ) -> None:
        self._run, self._lock = run, lock or nullcontext()
        self._writers: WeakValueDictionary[int, ChannelWriter] = WeakValueDictionary()

    def writer(self, channel: Any) -> "ChannelWriter":
        """The writer of a channel; the same one as long as it is in use. Raises `Invalid`."""
        with self._lock:
            writer = self._writers.get(id(channel))
            if writer is None:
                writer = self._writers[id(channel)] = ChannelWriter(channel, self._run, self._lock)
            return writer


class ChannelWriter:
    """A callback that puts results into one channel, in order.

    While the channel is full, results wait here and a separate routine puts them in as space
    becomes free. A channel without `put_nowait` is assumed never to be full.
    """

    def __init__(
        self,
        channel: Any,
        run: Callable[[Routine[None]], Any],
        lock: AbstractContextManager[Any],
    ) -> None:
        self._put, self._put_now = arguments.channel(channel)
        self._channel = channel  # keeps its id from being reused
        self._run, self._lock = run, lock
        self._waiting: deque[TaskResult] = deque()

    def __call__(self, result: TaskResult) -> Any:
        return self._run(self._offer(result))

    def _offer(self, result: TaskResult) -> Routine[None]:
        with self._lock:
            if self._waiting:
                self._waiting.append(result)
                return
        if not (yield from PutNow(self._put_now, result)):
            self._waiting.append(result)
            try:
                yield from Spawn(self._pour, "ollama-queue-channel")
            except BaseException:
                self._waiting.clear()
                raise

    def _pour(self) -> Routine[None]:
        while True:
            try:
                if not (yield from Put(self._put, self._put_now, self._waiting[0])):
                    yield from Sleep(LOOK_AGAIN_S)
                    continue
            except Exception as error:  # for example, it was shut down
                yield from Log("error", "a result could not be put into its channel", error=error)
            with self._lock:
                self._waiting.popleft()
                if not self._waiting:
                    return
