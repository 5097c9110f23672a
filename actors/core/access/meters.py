"""Arithmetic of limits: token buckets, budgets of a day or month, and delays after failures.

Instants (`now`) are seconds since 1970 for budgets, and of any steady clock for buckets.
"""

import re
from datetime import UTC, datetime

RATE_WANTED = "a number of requests per second, minute or hour, such as 10/s, 100/m or 1000/h"
_RATE = re.compile(r"([1-9]\d{0,8})/([smh])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_rate(text: str) -> tuple[int, float] | None:
    """How many requests in how many seconds; None for what is no rate."""
    matched = _RATE.fullmatch(text.strip())
    return None if matched is None else (int(matched[1]), _SECONDS[matched[2]])


class TokenBucket:
    """Lets `count` requests pass in each span of `per_s` seconds, all of them at once if it was
    full. (A token bucket, as in RFC 2697: it refills steadily.)"""

    __slots__ = ("_at", "_count", "_held", "_per_s")

    def __init__(self, count: int, per_s: float, now: float) -> None:
        self._count, self._per_s = count, per_s
        self._held, self._at = float(count), now

    def take(self, now: float) -> float:
        """Take one if there is one. Returns 0.0, or the seconds until there is."""
        gained = max(0.0, now - self._at) * self._count / self._per_s
        self._held = min(float(self._count), self._held + gained)
        self._at = now
        if self._held >= 1.0:
            self._held -= 1.0
            return 0.0
        return (1.0 - self._held) * self._per_s / self._count


def next_day(now: float) -> float:
    """When the UTC day after `now` begins."""
    return (now // 86_400 + 1) * 86_400


def next_month(now: float) -> float:
    """When the UTC month after `now` begins."""
    date = datetime.fromtimestamp(now, UTC)
    year, month = (date.year + 1, 1) if date.month == 12 else (date.year, date.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


class Failures:
    """Failed keys by address: answers to more of them are delayed, each for longer.

    At most `most` addresses are known, those that failed last. An address is forgotten after
    `forget_s` without a failure.
    """

    def __init__(self, most: int = 1000, free: int = 5, forget_s: float = 300.0) -> None:
        self._most, self._free, self._forget_s = most, free, forget_s
        self._by_address: dict[str, tuple[int, float]] = {}  # the oldest failure first

    def note(self, address: str, now: float) -> float:
        """Note a failure. Returns for how many seconds to delay its answer, at most 4."""
        count, at = self._by_address.pop(address, (0, now))
        count = 1 if now - at > self._forget_s else count + 1
        self._by_address[address] = count, now
        if len(self._by_address) > self._most:
            del self._by_address[next(iter(self._by_address))]
        return 0.0 if count <= self._free else min(4.0, 0.125 * 2.0 ** min(10, count - self._free))

    def __len__(self) -> int:
        return len(self._by_address)
