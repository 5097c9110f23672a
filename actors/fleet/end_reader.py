"""Tells the Scheduler of calls that other servers have ended, in a thread of its own."""

import threading
from collections.abc import Callable

from ..base.actor import Ref, log, tell
from ..base.thread_pool import begin_guarded
from ..core.messages import CallsEnded
from ..store.postgres.calls import CallEndWatch
from .watching import watch_rows


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
        def look(watch: CallEndWatch) -> None:
            if ends := watch.read():
                tell(self._scheduler, CallsEnded(ends))

        watch_rows(
            lambda: CallEndWatch(self._conninfo),
            look,
            self._is_over,
            lambda why: log.warning("the ends of calls of other servers cannot be read: %s", why),
        )
