"""Detects when the wall clock is set, by comparing it with a monotonic clock."""

import time
from collections.abc import Callable

LEAST_STEP_S = 1.0  # less could be the time between reading the two clocks


class Clock:
    """The time in seconds since 1970, and by how much the clock was set.

    Use the wall clock for what is due at an instant, the steady clock for what is due after a
    delay.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._lead = wall() - steady()

    def now(self) -> float:
        return self._wall()

    def step(self) -> float:
        """By how many seconds the clock was set since the last call; below 0 if set back."""
        lead = self._wall() - self._steady()
        step = lead - self._lead
        if abs(step) < LEAST_STEP_S:
            return 0.0
        self._lead = lead
        return step
