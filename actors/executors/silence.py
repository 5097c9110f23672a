"""Ends waits for model servers that are silent for too long.

A timeout of the socket would be a timer for each read, which costs more under gevent than the read.
So one thread looks at all running calls, and it ends when there are none.
"""

import contextlib
import os
import threading
import time
from typing import Protocol

LOOK_S = 0.25  # between two looks, so a wait ends up to this late


class Silenceable(Protocol):
    """A call that may be waiting."""

    def end_silence(self, now: float) -> None: ...


class SilenceWatch:
    """Calls `end_silence` of each running call, periodically."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[Silenceable] = set()
        self._is_running = False

    def add(self, call: Silenceable) -> None:
        self._calls.add(call)
        if not self._is_running:
            self._start()

    def discard(self, call: Silenceable) -> None:
        self._calls.discard(call)

    def _start(self) -> None:
        # A program that is exiting cannot start threads.
        with self._lock, contextlib.suppress(RuntimeError):
            if not self._is_running:
                threading.Thread(target=self._run, daemon=True, name="silence").start()
                self._is_running = True

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_S)
            now = time.monotonic()
            for call in tuple(self._calls):
                call.end_silence(now)
            with self._lock:
                self._is_running = False  # before the look: `add` looks in the other order
                if not self._calls:
                    return
                self._is_running = True

    def forget(self) -> None:
        """Start anew in a forked child, which has no thread of its parent."""
        self._lock, self._calls, self._is_running = threading.Lock(), set(), False


WATCH = SilenceWatch()
os.register_at_fork(after_in_child=WATCH.forget)
