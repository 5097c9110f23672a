"""Threads for work that may block, such as an fsync, so that no actor waits for it."""

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..core.model.errors import Unavailable

log = logging.getLogger("ollama_queue")

T = TypeVar("T")
OnDone = Callable[[T | None, str | None], None]


def begin(thread: threading.Thread) -> None:
    """Start a thread. Raises `Unavailable` if the system has none left or the program is ending."""
    try:
        thread.start()
    except RuntimeError as error:
        raise Unavailable(f"no thread could be started: {error}") from None


def begin_guarded(work: Callable[[], None], name: str, report: Callable[[str], None]) -> None:
    """Run `work` in a thread. `report` is called with a line of text if it ends by an exception,
    which nobody would notice otherwise. Raises `Unavailable` as `begin` does."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            log.error("the thread %s crashed\n%s", name, traceback.format_exc())
            report(f"{type(error).__name__}: {error}")

    begin(threading.Thread(target=run, name=name, daemon=True))


class Pool(Protocol):
    """One thread that runs jobs in order.

    Jobs may use RocksDB but nothing of ours: no promise, no message, no log.
    """

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        """Run `work`, then call `done(result, None)` or `done(None, error)`."""

    def finish(self, timeout: float) -> bool:
        """Wait until all submitted jobs are done, and stop; False after `timeout` seconds."""


class ThreadPool:
    """A `Pool` on a daemon thread, so that a hung disk cannot keep a program from exiting. With
    several `threads` so many jobs run at once, begun in order."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], OnDone[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._threads = [
            threading.Thread(target=self._work, name=name, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        self._jobs.put((work, done))

    def finish(self, timeout: float) -> bool:
        due = time.monotonic() + timeout
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, due - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            done(*attempt(work))
            del job, work, done  # else the last job's objects would stay referenced


class InlinePool:
    """A `Pool` without a thread: runs each job immediately in the caller's thread."""

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        done(*attempt(work))

    def finish(self, timeout: float) -> bool:
        return True


def attempt(work: Callable[[], T]) -> tuple[T, None] | tuple[None, str]:
    """The result and None, or None and the error as text: a traceback would keep the store open."""
    try:
        return work(), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
