"""Delivers messages to actors, and replies to those who asked."""

import _queue
import _thread
import inspect
import os
import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from msgspec import Struct

from ..core.model.errors import QueueError, Unavailable

_process = os.getpid()  # asking the system for each message takes as long as delivering it


def _note_fork() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_note_fork)


def check_process(pid: int) -> None:
    """Raise `Unavailable` in a forked child of the process that opened the queue.

    A fork copies locks as they were at that moment, but not the threads that would answer.
    """
    if _process != pid:
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

    With a queue as the bell it costs half of what it does with a lock, and a fifth of pykka's own
    future, which has a condition variable.
    """

    __slots__ = ("_bell", "_error", "_value")

    def __init__(self) -> None:
        self.is_kept = False
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._value: Reply
        self._error: QueueError | None = None

    def set(self, value: Reply) -> None:
        self._keep()
        self._value = value
        self._bell.put(None)

    def break_with(self, error: QueueError) -> None:
        self._keep()
        self._error = error
        self._bell.put(None)

    def get(self, timeout: float | None) -> Reply:
        """The value. Raises the `QueueError`, or `TimeoutError` after `timeout` seconds."""
        # A Ctrl-C just before the wait would not interrupt it: wake periodically.
        while not self._is_rung(SIGNALS_S if timeout is None else timeout):
            if timeout is not None:
                raise TimeoutError
        if self._error is not None:
            raise self._error.again()
        return self._value

    def _is_rung(self, timeout: float) -> bool:
        try:
            self._bell.get(timeout=timeout)
        except queue.Empty:
            return False
        self._bell.put(None)  # for others who wait
        return True


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


class Envelope(Struct):
    """A message and, if a reply is expected, its promise."""

    message: Any
    reply_to: Any = None


class Inbox:
    """A queue of envelopes that refuses mail once its actor has stopped.

    With a plain queue, mail that arrives while an actor drains it for the last time is lost, and
    its sender waits forever. So a sender looks again after it has put: mail that it finds then
    came too late for the actor. This takes no lock, which under gevent costs more than all else.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        self._epitaph: QueueError | None = None
        self._pid = os.getpid()

    def put(self, envelope: Envelope) -> None:
        if os.getpid() != self._pid:
            return  # a forked child; `Switchboard` refuses its callers
        if self._epitaph is None:
            self._queue.put(envelope)
            if self._epitaph is None:
                return
            refused = self._rest()
        else:
            refused = [envelope]
        for late in refused:
            if late.reply_to is not None:
                late.reply_to.break_with(self._epitaph)

    def get(self, timeout: float | None = None) -> Envelope:
        """The next envelope. Raises `queue.Empty` after `timeout` seconds."""
        return self._queue.get(timeout=timeout)

    def size(self) -> int:
        """About how many envelopes wait."""
        return self._queue.qsize()

    def empty(self) -> bool:
        return self._queue.empty()

    def close(self, epitaph: QueueError) -> list[Envelope]:
        """Refuse all later mail with `epitaph`; returns the unread envelopes."""
        self._epitaph = epitaph
        return self._rest()

    def _rest(self) -> list[Envelope]:
        """Remove all envelopes. If several threads do, each gets some."""
        rest = []
        with suppress(queue.Empty):
            while True:
                rest.append(self._queue.get_nowait())
        return rest
