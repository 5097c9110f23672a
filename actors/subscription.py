"""Hearing of what happens, in Python: subscriptions, and callbacks at a task's end.

`Listener` is what `QueueManager` and `Client` share: each only says how a mailbox is put in
force. A mailbox that is closed because the queue restarted is replaced by another.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any
from weakref import WeakSet

from ollama_queue.actors.core.errors import Invalid, NotFound, QueueError, Unavailable
from ollama_queue.actors.core.events import ENDS, EVENTS
from ollama_queue.actors.core.records import Chunk, Event, NewTask, Task, TaskResult
from ollama_queue.actors.mailbox import Closed, Mailbox
from ollama_queue.actors.verbs import ComposedVerbs, result_of
from ollama_queue.actors.views import shown

log = logging.getLogger("ollama_queue")

Leave = Callable[[], None]
# Puts a mailbox in force, trying for so many seconds. Raises `Unavailable`.
Put = Callable[[Mailbox[Any], float], Leave]
OUTAGE_PATIENCE_S = 30.0


def check_events(names: Collection[str] | None) -> frozenset[str] | None:
    """The names of events. Raises `Invalid` for one that there is not."""
    if isinstance(names, str):
        names = (names,)
    for name in names or ():
        if name not in EVENTS:
            known = ", ".join(sorted(EVENTS))
            raise Invalid(f"there is no event {name}; there are {known}", field="events")
    return None if names is None else frozenset(names)


class Subscription:
    """The queue's events from now on: iterate over it, or call `get`. May be read by one thread.

    A restart of the queue does not end it; what happened meanwhile is not told. It ends when it
    or its queue is closed. One that is not read in time raises `Closed`: it has `lagged`.
    """

    def __init__(self, put: Put) -> None:
        self._put = put
        self._mailbox = Mailbox[Event]()
        self._leave = put(self._mailbox, 0.0)
        self._is_closed = False

    def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises `TimeoutError` after `timeout` seconds, `Closed` at the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            try:
                return shown(self._mailbox.get(left))
            except Closed as closed:
                if self._is_closed or closed.message != "restarted":
                    raise
            self._begin_anew(deadline)

    def _begin_anew(self, deadline: float | None) -> None:
        left = OUTAGE_PATIENCE_S if deadline is None else deadline - time.monotonic()
        mailbox = Mailbox[Event]()
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

    def get_task(self, task_id: str, *, wait: float | None = None) -> Task:
        raise NotImplementedError

    def stream_task(self, task_id: str, *, timeout: float | None = None) -> Iterator[Chunk]:
        raise NotImplementedError

    def submit_streaming_task(
        self, new: NewTask, *, timeout: float | None = None
    ) -> Iterator[Chunk]:
        return self.stream_task(self.submit_task(new), timeout=timeout)

    def subscribe(
        self, events: Collection[str] | None = None, tasks: Collection[str] | None = None
    ) -> Subscription:
        names = check_events(events)
        ids = None if tasks is None else frozenset([tasks] if isinstance(tasks, str) else tasks)
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
        subscription.close()

    def submit_task_with_callback(
        self, new: NewTask, callback: Callable[[TaskResult], object]
    ) -> str:
        with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive():
                self._reporter = Reporter(self.listen, self.get_task)
            reporter = self._reporter
        return reporter.submit(partial(self.submit_task, new), callback)

    def submit_task_with_channel(
        self, new: NewTask, channel: "queue.Queue[TaskResult] | queue.SimpleQueue[TaskResult]"
    ) -> str:
        return self.submit_task_with_callback(new, channel.put)

    def _hang_up(self) -> None:
        """End all subscriptions and callbacks."""
        for subscription in list(self._subscriptions):
            subscription.close()
        if self._reporter is not None:
            self._reporter.close()


class Reporter(threading.Thread):
    """Calls back at the end of tasks: in the order of their ends, in this one thread.

    It subscribes and reads then, at the start and after each restart of the queue.
    """

    def __init__(self, listen: Callable[..., Leave], read: Callable[[str], Task]) -> None:
        super().__init__(name="ollama-queue-callbacks", daemon=True)
        self._listen, self._read = listen, read
        self._awaited: dict[str, Callable[[TaskResult], object]] = {}
        self._mailbox = Mailbox[Any](size=100_000)
        self._leave = listen(self._mailbox, ENDS)
        self._lock = threading.Lock()
        self._expected = self._renewals = 0  # submits on their way; mailboxes replaced
        self._missed: set[str] = set()  # ends of tasks that nobody awaited, while some are expected
        self._is_closed = False
        self.start()

    def submit(self, submit: Callable[[], str], callback: Callable[[TaskResult], object]) -> str:
        """Submit a task and await its end, which may be heard of before its id is known here."""
        with self._lock:
            self._expected += 1
            renewals = self._renewals
        is_late = False
        try:
            task_id = submit()
            with self._lock:
                self._awaited[task_id] = callback
                is_late = task_id in self._missed or renewals != self._renewals
        finally:
            with self._lock:
                self._expected -= 1
                if not self._expected:
                    self._missed.clear()
        if is_late:
            self._mailbox.put(task_id)  # lost only when the mailbox is replaced: then all are read
        return task_id

    def close(self) -> None:
        self._is_closed = True
        self._leave()
        self._mailbox.close("unsubscribed")

    def run(self) -> None:
        while not self._is_closed:
            try:
                self._look_at_all()
                while True:
                    item = self._mailbox.get()
                    self._look(item if isinstance(item, str) else item.task.id)
            except (Closed, Unavailable) as lost:
                if not self._begin_anew(lost):
                    break
        if self._awaited:
            log.warning("%d callbacks are not called: the queue is closed", len(self._awaited))

    def _begin_anew(self, lost: QueueError) -> bool:
        """False when there is nothing more to hear."""
        if self._is_closed or (isinstance(lost, Closed) and lost.message == "shutdown"):
            return False
        self._leave()
        with self._lock:
            self._renewals += 1
        self._mailbox = Mailbox[Any](size=100_000)
        try:
            self._leave = self._listen(self._mailbox, ENDS, patience=OUTAGE_PATIENCE_S)
        except Unavailable as error:
            log.error("no callbacks any more: %s", error.message)
            return False
        if self._is_closed:
            self.close()
        return True

    def _look_at_all(self) -> None:
        for task_id in tuple(self._awaited):
            self._look(task_id)

    def _look(self, task_id: str) -> None:
        with self._lock:
            if task_id not in self._awaited:
                if self._expected:
                    self._missed.add(task_id)
                return
        try:
            task = self._read(task_id)
            if not task.status.is_final:
                return
            result = result_of(task)
        except NotFound as gone:
            result = TaskResult(task_id, False, error=gone.message)
        callback = self._awaited.pop(task_id)
        try:
            callback(result)
        except Exception:
            log.exception("the callback of task %s failed", task_id)
