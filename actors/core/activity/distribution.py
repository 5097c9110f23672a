"""How many values of which size: a histogram that adds up, and gives percentiles."""

import math

from msgspec import Struct, field

PER_DOUBLING = 4  # buckets: each upper bound is 2 ** (1/4) times, or 19 % above, the one before
LEAST = -56  # the bucket of all values up to 2 ** -14 s, 61 microseconds
MOST = 80  # the bucket of all values above 2 ** 19.75 s, ten days


class Distribution(Struct, array_like=True):
    """A histogram of durations in seconds, with fixed logarithmic buckets.

    Bucket `i` counts the values above `2 ** ((i - 1) / 4)` and up to `2 ** (i / 4)`: those of
    Prometheus's native histograms, schema 2 (prometheus.io, "Native histograms"). As the bounds are
    fixed, histograms of different times and places are merged by adding them up; a percentile is at
    most 9 % away from the value's.
    """

    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value: float) -> None:
        """Count a value; one below zero, which a wrong clock makes, counts as zero."""
        self.count += 1
        if value <= 0.0:
            index = LEAST
        else:
            self.total += value
            if value > self.largest:
                self.largest = value
            index = min(max(math.ceil(math.log2(value) * PER_DOUBLING), LEAST), MOST)
        self.buckets[index] = self.buckets.get(index, 0) + 1

    def merge(self, other: "Distribution") -> None:
        """Add the values of another one."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count

    def copy(self) -> "Distribution":
        """A copy, as it is now."""
        return Distribution(self.count, self.total, self.largest, dict(self.buckets))

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """The value that `share` (0 to 1) of all values do not exceed; None without values."""
        if not self.count:
            return None
        rank, seen = share * self.count, 0
        for index, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank and index < MOST:
                return min(math.pow(2.0, (index - 0.5) / PER_DOUBLING), self.largest)
        return self.largest

    def up_to(self, exponents: range) -> list[int]:
        """How many values are at most `2 ** exponent` seconds, for each of them in order."""
        counts, seen = [], 0
        rest = sorted(self.buckets.items(), reverse=True)
        for exponent in exponents:
            while rest and rest[-1][0] <= exponent * PER_DOUBLING:
                seen += rest.pop()[1]
            counts.append(seen)
        return counts
