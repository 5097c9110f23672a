"""The hub of the server's greenlets: how they give way, and for how long it was deaf.

While a greenlet runs, nobody looks at the network, and the hub itself looks at it only once it has
run all greenlets that are ready, or fifty of them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent

log = logging.getLogger("ollama_queue")

WORK_S = 0.005  # without a look at the network, then whoever may yield does
GAP_S = 0.05  # a longer one is worth a warning
QUIET_S = 10.0  # between two warnings
SPAN_S = 60.0  # of which the longest gap is told
SLOT_S = 5.0  # the span's grain
LOOK_S = 1e-6  # a timer: `sleep(0)` would run other greenlets only, and not look at the network


class HubWatch:
    """Measures each gap between two looks at the network; costs nothing while there is no work.

    `gaps` counts those longer than 50 ms since `open`, and `deaf_s` is their sum. `clock` tells
    seconds: the time that passes, or in a test the time that the thread had the processor.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        loop = gevent.get_hub().loop
        self._clock, now = clock, clock()
        self.gaps, self.deaf_s = 0, 0.0
        self._looked = now
        self._is_open = False
        self._recent: deque[tuple[float, float]] = deque()  # the longest of each few seconds
        self._warned = now - QUIET_S
        self._untold = 0.0
        # Behind all that runs before a look, and before all that it brings.
        self._before: Any = loop.prepare(ref=False, priority=loop.MINPRI)
        self._after: Any = loop.check(ref=False, priority=loop.MAXPRI)
        self._before.start(self._looks)
        self._after.start(self._has_looked)

    def yield_control(self) -> None:
        """Give way if the network has not been looked at for 5 ms. Not for native threads."""
        if self._clock() - self._looked > WORK_S:
            gevent.sleep(LOOK_S)

    def open(self) -> None:
        """From now on somebody may wait for an answer: gaps count."""
        self._is_open = True

    def longest_gap_ms(self) -> float:
        """The longest time without a look at the network in the last minute, in ms."""
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
            # Not here: the log's lock cannot be waited for in the hub.
            gevent.spawn(log.warning, message, self._untold * 1e3, self.gaps, GAP_S * 1e3)
            self._untold = 0.0
