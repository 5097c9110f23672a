"""Rate-limits log lines that clients can trigger, and counts those suppressed."""

import logging
import time
from collections.abc import Callable

EVERY_S = 10.0


class RateLimitedLog:
    """Logs at most one line every `every_s` seconds."""

    def __init__(
        self,
        log: logging.Logger,
        level: int,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._level, self._every_s, self._clock = log, level, every_s, clock
        self._due = clock()
        self._left_out = 0

    def __call__(self, message: str, *args: object) -> None:
        now = self._clock()
        if now < self._due:
            self._left_out += 1
            return
        more = f" ({self._left_out} similar lines suppressed)" if self._left_out else ""
        self._due, self._left_out = now + self._every_s, 0
        self._log.log(self._level, f"{message}%s", *args, more)
