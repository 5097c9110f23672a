"""A bounded, closable queue in which a subscriber outside the actors receives events."""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from ..core.intake.arguments import late
from ..core.model.errors import QueueError
from .inbox import check_process

T = TypeVar("T")
ALONE_S = 0.001


class Closed(QueueError):
    """The mailbox is closed: `unsubscribed`, `lagged`, `shutdown` or `restarted`."""

    code = "closed"


class Mailbox(Generic[T]):
    """Filled by the event bus, read by one subscriber. If it is full, it closes as `lagged`."""

    def __init__(self, size: int = 1000) -> None:
        self.since = 0  # `seq` of the newest event before the subscription
        self._size = size
        self._items: deque[T] = deque()
        self._reason: str | None = None
        self._lock = threading.Lock()
        self._waiting = 0  # readers that wait for the bell
        self._handle: Callable[[T], T | None] | None = None  # of the reader that waits
        self._handled_at: float | None = None  # when it was last called, during this wait
        self._put_at = 0.0  # when the last item came
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # half a condition's cost
        self._pid = os.getpid()

    @property
    def reason(self) -> str | None:
        """Why it is closed; None while it is open."""
        return self._reason

    def put(self, item: T) -> bool:
        """Add an item; False if the mailbox is closed, or closes now because it is full."""
        with self._lock:
            if self._reason is not None:
                return False
            now = time.monotonic()
            is_alone, self._put_at = now - self._put_at >= ALONE_S, now
            if self._handle is not None and is_alone and not self._items:
                self._handled_at = now
                rest = self._handle(item)
                if rest is None:
                    return True
                item = rest
            if len(self._items) >= self._size:
                self._reason = "lagged"
            else:
                self._items.append(item)
            is_open, waiting = self._reason is None, self._waiting
            self._waiting = 0
        if waiting:
            self._ring(waiting)
        return is_open

    def put_all(self, items: Collection[T]) -> bool:
        """Add items; False if the mailbox is closed, or closes now because they do not all fit."""
        with self._lock:
            if self._reason is None and len(self._items) + len(items) > self._size:
                space = self._size - len(self._items)
                self._items.extend(item for item, _ in zip(items, range(space), strict=False))
                self._reason = "lagged"
            elif self._reason is None:
                self._items.extend(items)
            is_open, waiting = self._reason is None, self._waiting
            self._waiting = 0
        self._ring(waiting)
        return is_open

    def close(self, reason: str) -> None:
        """Close with a reason; items already in the mailbox can still be read."""
        with self._lock:
            self._reason = self._reason or reason
            waiting, self._waiting = self._waiting, 0
        self._ring(waiting)

    def get(self, timeout: float | None = None) -> T:
        """The next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""
        check_process(self._pid)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                self._expect()
            self._wait(deadline, timeout)

    def take(
        self, timeout: float | None = None, handle: Callable[[T], T | None] | None = None
    ) -> Collection[T]:
        """All items, at least one. Raises as `get` does.

        While this waits, `handle` is called with each item that is `put`, in the thread that puts
        it: it returns what is left for this reader, which goes on waiting if that is None. It must
        not block nor use the mailbox. The timeout begins anew with each call. Items that come
        within `ALONE_S` of another are left to the reader, who takes them together.
        """
        check_process(self._pid)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._handled_at = None
        try:
            while True:
                with self._lock:
                    if self._items:
                        taken, self._items = self._items, deque()
                        return taken
                    self._expect()
                    self._handle = handle
                try:
                    self._wait(deadline, timeout)
                except TimeoutError:
                    if timeout is None or self._handled_at is None:
                        raise
                    deadline, self._handled_at = self._handled_at + timeout, None
        finally:
            self._handle = None

    def drain(self) -> list[T]:
        """Remove and return all items, without waiting."""
        with self._lock:
            items = list(self._items)
            self._items.clear()
            return items

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                yield self.get()
        except Closed:
            return

    def _expect(self) -> None:
        """Have the next change ring the bell. Raises `Closed`."""
        if self._reason is not None:
            raise Closed(self._reason)
        self._waiting += 1

    def _wait(self, deadline: float | None, timeout: float | None) -> None:
        """Wait for the bell. Raises `TimeoutError`."""
        left = None if deadline is None else deadline - time.monotonic()
        try:
            if left is not None and left <= 0:
                raise queue.Empty
            self._bell.get(timeout=left)
        except queue.Empty:
            with self._lock:
                is_late = self._waiting > 0
                if is_late:
                    self._waiting -= 1
            if is_late:
                raise late("nothing came", timeout) from None
            self._bell.get()  # it rings just now

    def _ring(self, waiting: int) -> None:
        for _ in range(waiting):
            self._bell.put(None)
