"""Work aside from the actors: what may block, such as an fsync, without an actor waiting for it."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..core.model.errors import Unavailable

T = TypeVar("T")
OnDone = Callable[[T | None, str | None], None]


def begin(thread: threading.Thread) -> None:
    """Start it. Raises `Unavailable` where the system has no more, or the program ends."""
    try:
        thread.start()
    except RuntimeError as error:
        raise Unavailable(f"no thread could be started: {error}") from None


class Pool(Protocol):
    """One thread that does one thing after another.

    What runs in it may touch RocksDB and nothing of ours: no promise, no message, no log.
    """

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        """Do `work`, then call `done(result, None)` or `done(None, what went wrong)`."""

    def finish(self, timeout: float) -> bool:
        """Wait until all that was submitted is done, and end; False after `timeout` seconds."""


class ThreadPool:
    """A `Pool` on a plain daemon thread: a hung disk must not keep a program from ending."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], OnDone[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        self._jobs.put((work, done))

    def finish(self, timeout: float) -> bool:
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            done(*attempt(work))
            del job, work, done  # or the last job would keep what it refers to


class InlinePool:
    """A `Pool` without a thread: it does all at once, where it is asked to."""

    def submit(self, work: Callable[[], T], done: OnDone[T]) -> None:
        done(*attempt(work))

    def finish(self, timeout: float) -> bool:
        return True


def attempt(work: Callable[[], T]) -> tuple[T, None] | tuple[None, str]:
    """The result and None, or None and the error as text: a traceback would keep the store."""
    try:
        return work(), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
