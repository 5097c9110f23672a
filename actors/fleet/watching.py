"""Looks at rows of PostgreSQL whenever they may have changed, in the thread that calls it."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from ..store.postgres.connections import PostgresError

POLL_S = 1.0  # a notification may get lost
RETRY_S = 0.5


class Watch(Protocol):
    """A connection that is told of changes; its methods raise `PostgresError`."""

    def wait(self, seconds: float) -> object: ...

    def close(self) -> None: ...


W = TypeVar("W", bound=Watch)


def watch_rows(
    open_watch: Callable[[], W],
    look: Callable[[W], None],
    is_over: threading.Event,
    complain: Callable[[PostgresError], None],
) -> None:
    """Call `look` at first, and after each change, until `is_over`. When PostgreSQL fails,
    `complain` once, and open another watch until that works."""
    is_failing = False
    while not is_over.is_set():
        try:
            watch = open_watch()
            try:
                while not is_over.is_set():
                    look(watch)
                    is_failing = False
                    watch.wait(POLL_S)
            finally:
                watch.close()
        except PostgresError as error:
            if not is_failing:
                complain(error)
            is_failing = True
        is_over.wait(RETRY_S)
