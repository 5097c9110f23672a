"""The wall clock, which people and programs set, beside a steady one, which nothing moves."""

import time
from collections.abc import Callable

LEAST_STEP_S = 1.0  # less is not told from the time that it takes to look at both clocks


class Clock:
    """Tells the time, in seconds since 1970, and by how much the clock was set meanwhile.

    What is due at an instant goes by the wall clock as it is now; what is due after a while goes
    by the steady one.
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
        """By how many seconds it was set since this was asked last: above 0 forward, else back."""
        lead = self._wall() - self._steady()
        step = lead - self._lead
        if abs(step) < LEAST_STEP_S:
            return 0.0
        self._lead = lead
        return step
