"""Results on their way into queues of the program's own, which may be full."""

import logging
import queue
import threading
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

from ..base.thread_pool import begin
from ..core.intake import arguments
from ..core.model.tasks import TaskResult

log = logging.getLogger("ollama_queue")

FAILED = "a result could not be put into its channel"


class Channels:
    """The channels of one queue: one that is full holds up neither callbacks nor other channels."""

    def __init__(self) -> None:
        self._writers: WeakValueDictionary[int, ChannelWriter] = WeakValueDictionary()
        self._lock = threading.Lock()

    def writer(self, channel: Any) -> "ChannelWriter":
        """The way into a channel, the same one as long as anybody uses it. Raises `Invalid`."""
        with self._lock:
            writer = self._writers.get(id(channel))
            if writer is None:
                writer = self._writers[id(channel)] = ChannelWriter(channel)
            return writer


class ChannelWriter:
    """Puts results into one channel, in order. While it is full they wait here, and a thread of
    its own puts them in as they are read; what has no `put_nowait` is believed never to be full."""

    def __init__(self, channel: Any) -> None:
        self._put, self._put_now = arguments.channel(channel)
        self._channel = channel  # as long as this lives, no other has its id
        self._waiting: deque[TaskResult] = deque()
        self._lock = threading.Lock()

    def __call__(self, result: TaskResult) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.append(result)
                return
        try:
            self._put_now(result)
        except queue.Full:
            thread = threading.Thread(target=self._pour, name="ollama-queue-channel", daemon=True)
            self._waiting.append(result)
            try:
                begin(thread)
            except BaseException:
                self._waiting.clear()
                raise

    def _pour(self) -> None:
        while True:
            with self._lock:
                result = self._waiting[0]
            try:
                self._put(result)
            except Exception:  # the channel is shut down, say: nothing goes in any more
                log.exception(FAILED)
            with self._lock:
                self._waiting.popleft()
                if not self._waiting:
                    return
