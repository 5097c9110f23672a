"""Delivers messages to actors, and replies to those who asked."""

import _queue
import _thread
import inspect
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..core.model.errors import QueueError, Unavailable


def check_process(pid: int) -> None:
    """Raise `Unavailable` in a forked child of the process that opened the queue.

    A fork copies locks as they were at that moment, but not the threads that would answer.
    """
    if os.getpid() != pid:
        raise Unavailable(
            f"this queue was opened in process {pid}; use Client here, or open it after the fork"
        )


def check_threads() -> None:
    """Raise `Unavailable` if gevent's patches include queues but not threads.

    A patched queue does not wake a native thread that waits for it.
    """
    has_own_threads = inspect.isbuiltin(_thread.start_new_thread)
    if has_own_threads and queue.SimpleQueue is not _queue.SimpleQueue:
        raise Unavailable(
            "the standard library's queues are patched and its threads are not, so threads "
            "cannot wake each other: use monkey.patch_all() without thread=False, or with "
            "queue=False too"
        )


SIGNALS_S = 1.0

Reply = TypeVar("Reply")
# Contravariant: a promise of a wider type can be kept with any narrower reply.
Answer = TypeVar("Answer", contravariant=True)


class Promise(Generic[Answer]):
    """A reply to come, kept exactly once with a value or a `QueueError`."""

    __slots__ = ("is_kept",)

    def __init__(self) -> None:
        self.is_kept = False

    def set(self, value: Answer) -> None:
        raise NotImplementedError

    def break_with(self, error: QueueError) -> None:
        raise NotImplementedError

    def _keep(self) -> None:
        if self.is_kept:
            raise RuntimeError("a promise is kept once")
        self.is_kept = True


class Future(Promise[Reply]):
    """A promise that a thread waits for.

    pykka's own future uses a condition variable, at twice the cost.
    """

    __slots__ = ("_error", "_open", "_value")

    def __init__(self) -> None:
        self.is_kept = False
        self._open = threading.Lock()
        self._open.acquire()
        self._value: Reply
        self._error: QueueError | None = None

    def set(self, value: Reply) -> None:
        self._keep()
        self._value = value
        self._open.release()

    def break_with(self, error: QueueError) -> None:
        self._keep()
        self._error = error
        self._open.release()

    def get(self, timeout: float | None) -> Reply:
        """The value. Raises the `QueueError`, or `TimeoutError` after `timeout` seconds."""
        if timeout is None:
            # A Ctrl-C just before the wait would not interrupt it: wake periodically.
            while not self._open.acquire(timeout=SIGNALS_S):
                pass
        elif not self._open.acquire(timeout=timeout):
            raise TimeoutError
        self._open.release()
        if self._error is not None:
            raise self._error.again()
        return self._value


class CallbackPromise(Promise[Reply]):
    """A promise that calls `done` as soon as it is kept."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[Reply | QueueError], None]) -> None:
        super().__init__()
        self._done = done

    def set(self, value: Reply) -> None:
        self._keep()
        self._done(value)

    def break_with(self, error: QueueError) -> None:
        self._keep()
        self._done(error)


class Envelope:
    """A message and, if a reply is expected, its promise."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: object, reply_to: Promise[Any] | None = None) -> None:
        self.message = message
        self.reply_to = reply_to


class Inbox:
    """A queue of envelopes that refuses mail once its actor has stopped.

    With a plain queue, mail that arrives while an actor drains it for the last time is lost, and
    its sender waits forever.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._epitaph: QueueError | None = None
        self._pid = os.getpid()

    def put(self, envelope: Envelope) -> None:
        if os.getpid() != self._pid:
            return  # a forked child; `Switchboard` refuses its callers
        with self._lock:
            if self._epitaph is None:
                self._queue.put(envelope)
                return
        if envelope.reply_to is not None:
            envelope.reply_to.break_with(self._epitaph)

    def get(self, timeout: float | None = None) -> Envelope:
        """The next envelope. Raises `queue.Empty` after `timeout` seconds."""
        return self._queue.get(timeout=timeout)

    def empty(self) -> bool:
        return self._queue.empty()

    def close(self, epitaph: QueueError) -> list[Envelope]:
        """Refuse all later mail with `epitaph`; returns the unread envelopes."""
        with self._lock:
            self._epitaph = epitaph
            unread = []
            while not self._queue.empty():
                unread.append(self._queue.get())
            return unread
