"""A bounded, closable queue in which a subscriber outside the actors receives events."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from ..core.intake.arguments import late
from ..core.model.errors import QueueError
from .inbox import check_process

T = TypeVar("T")


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
        self._changed = threading.Condition()
        self._pid = os.getpid()

    @property
    def reason(self) -> str | None:
        """Why it is closed; None while it is open."""
        return self._reason

    def put(self, item: T) -> bool:
        """Add an item; False if the mailbox is closed, or closes now because it is full."""
        with self._changed:
            if self._reason is None and len(self._items) >= self._size:
                self._reason = "lagged"
            if self._reason is None:
                self._items.append(item)
            self._changed.notify_all()
            return self._reason is None

    def close(self, reason: str) -> None:
        """Close with a reason; items already in the mailbox can still be read."""
        with self._changed:
            self._reason = self._reason or reason
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """The next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""
        check_process(self._pid)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._reason is not None:
                    raise Closed(self._reason)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise late("nothing came", timeout)
                self._changed.wait(left)
            return self._items.popleft()

    def drain(self) -> list[T]:
        """Remove and return all items, without waiting."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            return items

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                yield self.get()
        except Closed:
            return
