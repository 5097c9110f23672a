"""Tells the Scheduler of calls that other servers have ended, in a thread of its own."""

import threading
from collections.abc import Callable

from ..base.actor import Ref, log, tell
from ..base.thread_pool import begin_guarded
from ..core.messages import CallsEnded
from ..store.postgres.calls import CallEndWatch
from ..store.postgres.connections import PostgresError

POLL_S = 1.0  # a notification may get lost
RETRY_S = 0.5


class EndReader:
    """Runs while this server leads."""

    def __init__(self, conninfo: str, scheduler: Ref, report: Callable[[str], None]) -> None:
        """`report` is called if it crashes."""
        self._conninfo, self._scheduler = conninfo, scheduler
        self._is_over = threading.Event()
        begin_guarded(self._read, "ollama-queue-ended-calls", report)

    def close(self) -> None:
        self._is_over.set()

    def _read(self) -> None:
        is_failing = False
        while not self._is_over.is_set():
            try:
                watch = CallEndWatch(self._conninfo)
                try:
                    while not self._is_over.is_set():
                        ends = watch.read()
                        is_failing = False
                        if ends:
                            tell(self._scheduler, CallsEnded(ends))
                        watch.wait(POLL_S)
                finally:
                    watch.close()
            except PostgresError as error:
                if not is_failing:
                    log.warning("the ends of calls of other servers cannot be read: %s", error)
                is_failing = True
            self._is_over.wait(RETRY_S)
