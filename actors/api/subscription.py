"""A subscription to a queue's events, read in threads."""

from collections.abc import Iterator

from ..base.mailbox import Closed
from ..core.model.tasks import (
    Event,
)
from ..routines.hearing import Hearing
from .threads import Threads
from .views import shown


class Subscription:
    """The queue's events from now on: iterate over it, or call `get`. May be read by one thread.

    A restart of the queue does not end it; what happened meanwhile is not told. It ends when it
    or its queue is closed. One that is not read in time raises `Closed`: it has `lagged`.
    """

    def __init__(self, threads: Threads, hearing: Hearing) -> None:
        self._threads, self._hearing = threads, hearing
        threads.run(hearing.begin())

    def get(self, timeout: float | None = None) -> Event:
        """The next event. Raises `TimeoutError` after `timeout` seconds, `Closed` at the end."""
        return shown(self._threads.run(self._hearing.get(timeout)))

    def close(self) -> None:
        """End it, from any thread: whoever reads it comes to the end."""
        self._threads.run(self._hearing.close())

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield self.get()
            except Closed as closed:
                if closed.message == "lagged":
                    raise
                return
