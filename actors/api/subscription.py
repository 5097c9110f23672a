"""A subscription to a queue's events, for threads."""

from collections.abc import Iterator

from ..base.mailbox import Closed
from ..core.model.tasks import (
    Event,
)
from ..routines.hearing import Hearing
from .threads import Threads
from .views import shown


class Subscription:
    """The queue's events from now on: iterate over it, or call `get`. For one reading thread.

    It survives a restart of the queue, but misses the events during it. It ends when it or its
    queue is closed. If it is read too slowly, it raises `Closed` with the message `lagged`.
    """

    def __init__(self, threads: Threads, hearing: Hearing) -> None:
        self._threads, self._hearing = threads, hearing
        threads.run(hearing.begin())

    def get(self, timeout: float | None = None) -> Event:
        """Return the next event.

        Raises `TimeoutError` after `timeout` seconds, `Closed` when the subscription has ended.
        """
        return shown(self._threads.run(self._hearing.get(timeout)))

    def close(self) -> None:
        """End the subscription. May be called from any thread; iterating over it stops."""
        self._threads.run(self._hearing.close())

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield self.get()
            except Closed as closed:
                if closed.message == "lagged":
                    raise
                return
