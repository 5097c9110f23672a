"""The hub of the server's greenlets: when they yield, and how long the network went unpolled.

While a greenlet runs, the network is not polled. The hub polls it only after it has run all ready
greenlets, or fifty of them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

log = logging.getLogger("ollama_queue")

WORK_S = 0.005  # without polling the network; after it, `yield_control` yields
GAP_S = 0.05  # longer gaps are logged as warnings
QUIET_S = 10.0  # between two warnings
SPAN_S = 60.0  # over which the longest gap is reported
SLOT_S = 5.0  # resolution of the span
LOOK_S = 1e-6  # a timer: `sleep(0)` only runs other greenlets, without polling the network


class HubWatch:
    """Measures the gaps between two polls of the network; costs nothing while idle.

    `gaps` counts those longer than 50 ms since `open`; `deaf_s` is their sum. `clock` returns
    seconds: elapsed time, or in tests the thread's CPU time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        loop = gevent.get_hub().loop
        self._clock, now = clock, clock()
        self.gaps, self.deaf_s = 0, 0.0
        self._looked = now
        self._is_open = False
        self._recent: deque[tuple[float, float]] = deque()  # the longest gap of each slot
        self._warned = now - QUIET_S
        self._untold = 0.0
        # Last of the callbacks before a poll, and first of those after it.
        self._before: Any = loop.prepare(ref=False, priority=loop.MINPRI)
        self._after: Any = loop.check(ref=False, priority=loop.MAXPRI)
        self._before.start(self._looks)
        self._after.start(self._has_looked)

    def yield_control(self) -> None:
        """Yield if the network has not been polled for 5 ms. Not for native threads."""
        if self._clock() - self._looked > WORK_S:
            gevent.sleep(LOOK_S)

    def open(self) -> None:
        """Start counting gaps: from now on clients may be waiting."""
        self._is_open = True

    def longest_gap_ms(self) -> float:
        """The longest time in the last minute without polling the network, in ms."""
        begin = self._clock() - SPAN_S
        return round(max((gap for at, gap in self._recent if at > begin), default=0.0) * 1e3, 1)

    def close(self) -> None:
        self._before.close()
        self._after.close()

    def _has_looked(self) -> None:
        self._looked = self._clock()

    def _looks(self) -> None:
        now = self._clock()
        gap = now - self._looked
        if not self._is_open:
            return
        recent = self._recent
        if recent and now - recent[-1][0] < SLOT_S:
            if gap > recent[-1][1]:
                recent[-1] = (recent[-1][0], gap)
        else:
            recent.append((now, gap))
            while now - recent[0][0] > SPAN_S:
                recent.popleft()
        if gap > GAP_S:
            self._note(gap, now)

    def _note(self, gap: float, now: float) -> None:
        self.gaps += 1
        self.deaf_s += gap
        self._untold = max(self._untold, gap)
        if now - self._warned >= QUIET_S:
            self._warned = now
            message = "the server answered nobody for %.0f ms (%d times longer than %.0f ms so far)"
            # In a greenlet: the hub must not wait for the log's lock.
            gevent.spawn(log.warning, message, self._untold * 1e3, self.gaps, GAP_S * 1e3)
            self._untold = 0.0
