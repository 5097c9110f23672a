"""Runs routines for `QueueManager` and `Client`: executes their steps in plain threads."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Protocol, Self, TypeVar

from ..base.mailbox import Mailbox
from ..base.thread_pool import begin
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import Batch, Task
from ..routines import steps
from ..routines.awaited import BatchResults, Callback
from ..routines.callbacks import Callbacks
from ..routines.steps import Drive, Leave, Routine, Source, Step

log = logging.getLogger("ollama_queue")

CALLBACK_FAILED = "the callback of task %s failed"

R = TypeVar("R")
Take = Callable[["Threads", Any], Any]


class WatchedQueue(Protocol):
    """The methods of a queue that routines need."""

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
    ) -> Leave:
        """Put events into `mailbox` from now on. Returns a function that ends this."""
        ...

    def get_task(self, task_id: str) -> Task: ...

    def get_batch(self, batch_id: str) -> Batch: ...

    def list_page(self, filter: TaskFilter) -> TaskPage: ...


class Threads:
    """Runs routines in the calling thread.

    `takes` maps the steps that need a queue to the functions that execute them.
    """

    def __init__(self, takes: Mapping[type[Step[Any]], Take]) -> None:
        self._takes = {**_TAKES, **takes}

    @classmethod
    def over(cls, queue: "WatchedQueue") -> Self:
        """Run routines over a queue in this process."""

        def hear(_: Threads, step: steps.Listen) -> Source:
            mailbox = Mailbox[Any](step.ahead)
            return Source(mailbox, queue.listen(mailbox, step.events, step.tasks))

        return cls(
            {
                steps.Listen: hear,
                steps.ReadTask: lambda _, step: queue.get_task(step.task_id),
                steps.ReadBatch: lambda _, step: queue.get_batch(step.batch_id),
                steps.ReadPage: lambda _, step: queue.list_page(step.filter),
            }
        )

    def run(self, routine: Routine[R]) -> R:
        """Run `routine` and return its result."""
        drive = Drive(routine)
        step = drive.send(None)
        while step is not None:
            try:
                answer = self._takes[type(step)](self, step)
            except BaseException as error:
                step = drive.throw(error)
            else:
                step = drive.send(answer)
        return drive.result

    def items(self, routine: Routine[None]) -> Generator[Any, None, None]:
        """Run `routine` and yield the items it delivers."""
        drive, answer = Drive(routine), None
        step = drive.send(None)
        while step is not None:
            try:
                if isinstance(step, steps.Deliver):
                    yield step.item
                else:
                    answer = self._takes[type(step)](self, step)
            except BaseException as error:
                step = drive.throw(error)
            else:
                step = drive.send(answer)


def write_log(_: object, step: steps.Log) -> None:
    level = logging.getLevelName(step.level.upper())
    log.log(level, step.words, *step.values, exc_info=step.error)


def _call_back(_: Threads, step: steps.CallBack) -> None:
    try:
        step.function()
    except BaseException:  # sys.exit in one must not end the others
        log.exception(CALLBACK_FAILED, step.task_id)


def _spawn(threads: Threads, step: steps.Spawn) -> None:
    target = partial(threads.run, step.routine())
    begin(threading.Thread(target=target, name=step.name, daemon=True))


def _put_now(_: Threads, step: steps.PutNow) -> bool:
    try:
        step.put_now(step.item)
    except queue.Full:
        return False
    return True


def _put(_: Threads, step: steps.Put) -> bool:
    step.put(step.item)
    return True


# How steps are taken that are the same for threads and for an event loop.
COMMON_TAKES: dict[type[Step[Any]], Callable[[Any, Any], Any]] = {
    steps.Now: lambda _, step: time.monotonic(),
    steps.Log: write_log,
    steps.Invoke: lambda _, step: step.function(),
    steps.Receive: lambda _, step: step.source.mailbox.get(step.timeout),
    steps.Release: lambda _, step: step.source.leave(),
}
_TAKES: dict[type[Step[Any]], Take] = {
    **COMMON_TAKES,
    steps.Sleep: lambda _, step: time.sleep(step.seconds),
    steps.CallBack: _call_back,
    steps.Spawn: _spawn,
    steps.PutNow: _put_now,
    steps.Put: _put,
}


class Reporter(threading.Thread):
    """The thread that runs all callbacks of one queue."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(name="ollama-queue-callbacks", daemon=True)
        self._threads = threads
        self._callbacks = Callbacks(threading.Lock())
        threads.run(self._callbacks.begin())
        begin(self)

    def submit(
        self, submit: Callable[[], list[str]], callback: Callback | BatchResults
    ) -> list[str]:
        """Call `submit`, which returns task ids, and await the end of each task."""
        return self._threads.run(self._callbacks.submit(steps.Invoke(submit), callback))

    def add(self, task_id: str, callback: Callback) -> None:
        """Await the end of an existing task."""
        self._threads.run(self._callbacks.add(task_id, callback))

    def close(self) -> None:
        self._threads.run(self._callbacks.close())

    def run(self) -> None:
        self._threads.run(self._callbacks.run())
