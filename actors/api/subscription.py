"""Hearing of what happens, in Python: subscriptions, and callbacks at a task's end.

`Listener` is what `QueueManager` and `Client` share: each only says how a mailbox is put in
force. A mailbox that is closed because the queue restarted is replaced by another.
"""

import queue
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakSet

from ..base.mailbox import Closed, Mailbox
from ..core.intake import arguments
from ..core.intake.arguments import AnyTask, OfBatch, OfTask, Tasks
from ..core.intake.submission import parse_time
from ..core.model import limits
from ..core.model.errors import Unavailable
from ..core.model.events import Happened
from ..core.model.task_filter import TaskFilter
from ..core.model.tasks import (
    Batch,
    BatchSubmitted,
    Chunk,
    Event,
    Task,
    TaskResult,
)
from . import ends
from .awaited import (
    OUTAGE_PATIENCE_S,
    BatchResults,
    Callback,
    following,
    members,
)
from .channels import Channels
from .reporter import Reporter
from .task_stream import TaskStream
from .verbs import ComposedVerbs, later
from .views import shown

Leave = Callable[[], None]
# Puts a mailbox in force, trying for so many seconds. Raises `Unavailable`.
Put = Callable[[Mailbox[Any], float], Leave]


class Subscription:
    """The queue's events from now on: iterate over it, or call `get`. May be read by one thread.

    A restart of the queue does not end it; what happened meanwhile is not told. It ends when it
    or its queue is closed. One that is not read in time raises `Closed`: it has `lagged`.
    """

    def __init__(self, put: Put) -> None:
        self._put = put
        self._mailbox = Mailbox[Happened | Event]()
        self._leave = put(self._mailbox, 0.0)
        self._is_closed = False

    def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises `TimeoutError` after `timeout` seconds, `Closed` at the end."""
        timeout = arguments.seconds(timeout, "timeout")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            try:
                return shown(self._mailbox.get(left))
            except TimeoutError:
                raise arguments.late("nothing came", timeout) from None
            except Closed as closed:
                if self._is_closed or closed.message != "restarted":
                    raise
            self._begin_anew(deadline)

    def _begin_anew(self, deadline: float | None) -> None:
        left = OUTAGE_PATIENCE_S if deadline is None else deadline - time.monotonic()
        mailbox = Mailbox[Happened | Event]()
        try:
            leave = self._put(mailbox, min(max(left, 0.0), OUTAGE_PATIENCE_S))
        except Unavailable:
            if left < OUTAGE_PATIENCE_S:
                raise TimeoutError("the queue is away") from None
            raise
        self._mailbox, self._leave = mailbox, leave
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """End it, from any thread: whoever reads it comes to the end."""
        self._is_closed = True
        self._leave()
        self._mailbox.close("unsubscribed")

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield self.get()
            except Closed as closed:
                if closed.message == "lagged":
                    raise
                return


class Listener(ComposedVerbs):
    """The verbs that hear of things; needs `listen`, `get_task` and `stream_task` as well."""

    def __init__(self) -> None:
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._reporter: Reporter | None = None
        self._reporter_lock = threading.Lock()
        self._channels = Channels()

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        patience: float = 0.0,
    ) -> Leave:
        """Put events into `mailbox` from now on; returns how to leave.

        Tries for `patience` seconds where the queue is out of reach.
        """
        raise NotImplementedError

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        raise NotImplementedError

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        raise NotImplementedError

    def get_batch(self, batch_id: OfBatch) -> Batch:
        raise NotImplementedError

    def cancel_task(self, task_id: OfTask) -> Task:
        raise NotImplementedError

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
        names, ids = arguments.events(events), arguments.watched(tasks)
        subscription = Subscription(partial(self._put, names, ids))
        self._subscriptions.add(subscription)
        return subscription

    def _put(
        self,
        events: frozenset[str] | None,
        tasks: frozenset[str] | None,
        mailbox: Mailbox[Any],
        patience: float,
    ) -> Leave:
        return self.listen(mailbox, events, tasks, patience)

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
        gathering = BatchResults(arguments.callback(callback))
        return self._reported(lambda: gathering.of(self.submit_batch(tasks)), gathering)

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

    # --- waiting for many -----------------------------------------------------------------------

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
        timeout, on_progress = ends.waits(timeout, on_progress)
        made = self._members(batch_id)
        return ends.gathered(self.listen, self.get_task, self.list_page, made, timeout, on_progress)

    def _members(self, batch_id: OfBatch) -> BatchSubmitted:
        name, ids = arguments.batch_id(batch_id), arguments.members(batch_id)
        if ids is not None:
            return BatchSubmitted(name, ids)
        self.get_batch(name)  # there is one
        ids = []
        wanted: TaskFilter | None = members(name)
        while wanted is not None:
            page = self.list_page(wanted)
            ids += [task.id for task in page.tasks]
            wanted = following(wanted, page)
        return BatchSubmitted(name, ids[::-1])

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> Generator[TaskResult, None, None]:
        wanted = arguments.ids(ids, "ids", limits.AWAITED, least=0)
        timeout = arguments.seconds(timeout, "timeout")
        return ends.completed(self.listen, self.get_task, wanted, timeout)

    def _reported(
        self, submit: Callable[[], list[str]], callback: Callback | BatchResults
    ) -> list[str]:
        return self._reporting().submit(submit, callback)

    def _reporting(self) -> Reporter:
        with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive():
                self._reporter = Reporter(self.listen, self.get_task, self.list_page)
            return self._reporter

    def _hang_up(self) -> None:
        """End all subscriptions and callbacks."""
        for subscription in list(self._subscriptions):
            subscription.close()
        if self._reporter is not None:
            self._reporter.close()
