"""Verbs composed of other verbs, shared by `QueueManager` and `Client`."""

import queue
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from ..core.intake import arguments
from ..core.intake.arguments import AnyTask, OfBatch, OfTask, Tasks
from ..core.intake.filters import task_filter
from ..core.intake.submission import parse_time
from ..core.model.task_filter import TaskFilter
from ..core.model.tasks import Task, TaskResult
from ..routines import ends
from ..routines.awaited import BatchResults, Callback
from ..routines.channels import Channels
from ..routines.hearing import Hearing
from .queue_api import QueueAPI
from .subscription import Subscription
from .task_stream import TaskStream
from .threads import Reporter, Threads
from .verbs import full_page, later, scheduled


class ComposedVerbs(QueueAPI):
    """The verbs that call a queue's other verbs, or run routines in `threads`.

    A context manager: calls `close` on exit.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._reporter: Reporter | None = None
        self._reporter_lock = threading.Lock()
        self._channels = Channels(threads.run, threading.Lock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def list_tasks(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> list[Task]:
        return full_page(self.list_page, task_filter(filter)).tasks

    def submit_task(self, new: AnyTask) -> str:
        return self.submit(new).task_id

    def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        return self.submit_task(scheduled(new, at))

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> TaskStream:
        timeout = arguments.seconds(timeout, "timeout")
        cancel = self.cancel_task if arguments.flag(cancel_on_close, "cancel_on_close") else None
        task_id = self.submit_task(new)
        chunks = self.stream_task(task_id, timeout=timeout)
        return TaskStream(task_id, chunks, cancel)

    def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> Subscription:
        subscription = Subscription(self._threads, Hearing(events, tasks))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        arguments.record(subscription, Subscription, "subscription").close()

    def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        arguments.callback(callback)
        (task_id,) = self._reported(lambda: [self.submit_task(new)], callback)
        return task_id

    def submit_task_with_channel(
        self,
        new: AnyTask,
        channel: "queue.Queue[TaskResult] | queue.SimpleQueue[TaskResult]",
    ) -> str:
        return self.submit_task_with_callback(new, self._channels.writer(channel))

    def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        if callback is None:
            return self.submit_batch(tasks).task_ids
        results = BatchResults(arguments.callback(callback))
        return self._reported(lambda: results.of(self.submit_batch(tasks)), results)

    def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        parse_time(at, "at")
        return self.submit_batch_tasks_async(later(tasks, at), callback)

    def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        arguments.callback(callback)
        self._reporting().add(arguments.task_id(task_id), callback)

    # --- waiting for many tasks -----------------------------------------------------------------

    def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: ends.OnProgress | None = None,
    ) -> list[TaskResult]:
        timeout, on_progress = ends.waits(timeout, on_progress)
        return self.wait_batch(self.submit_batch(tasks), timeout=timeout, on_progress=on_progress)

    def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: ends.OnProgress | None = None,
    ) -> list[TaskResult]:
        return self._threads.run(ends.wait_batch(batch_id, timeout, on_progress))

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> Generator[TaskResult, None, None]:
        return self._threads.items(ends.as_completed(ids, timeout, time.monotonic()))

    def _reported(
        self, submit: Callable[[], list[str]], callback: Callback | BatchResults
    ) -> list[str]:
        return self._reporting().submit(submit, callback)

    def _reporting(self) -> Reporter:
        with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive():
                self._reporter = Reporter(self._threads)
            return self._reporter

    def _hang_up(self) -> None:
        """End all subscriptions and callbacks."""
        for subscription in list(self._subscriptions):
            subscription.close()
        if self._reporter is not None:
            self._reporter.close()
