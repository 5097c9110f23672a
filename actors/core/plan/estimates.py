"""Estimates when waiting tasks start, from the durations of past calls."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from ..model.entry import Entry
from ..routing.gates import Gate
from ..routing.lanes import Lane
from ..routing.routes import read_route
from .slots import Slots
from .waiting import QueueKey, WaitingRoom

WEIGHT = 0.2  # of the newest call in a mean
MOST_QUEUES = 50  # of a lane that are measured individually


class Durations:
    """Call durations by model and backend: exponential moving averages of weight 0.2."""

    KEPT = 1000

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], float] = {}

    def note(self, model: str, backend: str, seconds: float) -> None:
        """Record an answered call's duration."""
        known = self._means.pop((model, backend), seconds)
        self._means[model, backend] = known + (seconds - known) * WEIGHT
        if len(self._means) > self.KEPT:
            del self._means[next(iter(self._means))]  # the least recently updated

    def expect(self, model: str, backends: Iterable[str]) -> float | None:
        """The mean duration of a model on these backends, in seconds; None if unknown."""
        return _mean([m for b in backends if (m := self._means.get((model, b))) is not None])

    def mean(self, backends: Container[str]) -> float | None:
        """The mean duration over all models that these backends have run, None if unknown."""
        return _mean([mean for (_, b), mean in self._means.items() if b in backends])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


class _Work(NamedTuple):
    """A lane's waiting work: seconds by level, and each level's queues: key, length, seconds."""

    gates: Sequence[Gate]
    seconds: dict[int, float]
    queues: dict[int, list[tuple[QueueKey, int, float]]]


class _Outlook(NamedTuple):
    """What the estimates of a lane's tasks have in common.

    `running_s` is what is left of the running calls, `at_once` how many calls run at once, `shares`
    the work of lanes with the same backends, each with the part of it that these will do.
    """

    running_s: float
    at_once: int
    shares: list[tuple[_Work, float]]


class Forecast:
    """A snapshot of what waits and runs, to estimate the starts of many tasks.

    A task's start is the work ahead of it, divided by how many calls its backends run at once. The
    work ahead is that of all tasks which these backends would run and which come first by
    priority, then by age, plus half of what is running. Work that other backends can also run is
    shared in proportion. Tasks of models not seen yet count with the mean of the others; very many
    queues are sampled; policies, failures and model loading are ignored.
    """

    def __init__(
        self, waiting: WaitingRoom, slots: Slots, durations: Durations, now: float
    ) -> None:
        self._waiting, self._slots, self._durations, self._now = waiting, slots, durations, now
        self._work: dict[Lane, _Work] = {}
        self._outlooks: dict[Lane, _Outlook | None] = {}

    def start_of(self, entry: Entry) -> float | None:
        """Seconds until a due entry may start; None if unknown."""
        lane = self._waiting.lane(entry)
        if lane not in self._outlooks:
            self._outlooks[lane] = self._outlook(lane)
        outlook = self._outlooks[lane]
        if outlook is None:
            return None
        ahead = outlook.running_s
        for work, share in outlook.shares:
            ahead += self._ahead(work, entry) * share
        return round(ahead / outlook.at_once, 3)

    def _outlook(self, lane: Lane) -> _Outlook | None:
        """A lane's outlook; None if no call's duration is known."""
        gates = self._of(lane).gates
        names = [gate.name for gate in gates]
        if self._durations.mean(names) is None:
            return None
        models = Counter(running.model for running in self._slots if running.gate in gates)
        running_s = sum(self._seconds(model, names) * n for model, n in models.items()) / 2
        shares = []
        for other in self._waiting.lanes:
            work = self._of(other)
            common = _capacity(gate for gate in work.gates if gate in gates)
            if common:
                shares.append((work, common / _capacity(work.gates)))
        return _Outlook(running_s, min(self._slots.count, _capacity(gates)), shares)

    def _ahead(self, work: _Work, entry: Entry) -> float:
        """Seconds of work ahead of the entry."""
        above = sum(seconds for level, seconds in work.seconds.items() if level > entry.priority)
        before = total = 0.0
        for key, length, each in work.queues.get(entry.priority, ()):
            before += self._waiting.older_than(entry, key) * each
            total += length * each
        return above + (work.seconds[entry.priority] * before / total if total else 0.0)

    def _of(self, lane: Lane) -> _Work:
        if lane not in self._work:
            self._work[lane] = self._measure(lane)
        return self._work[lane]

    def _measure(self, lane: Lane) -> _Work:
        gates = [gate for gate in lane.usable(self._now) if gate.is_in]
        names = [gate.name for gate in gates]
        work = _Work(gates, {}, {})
        for key, length in self._waiting.lengths(lane, MOST_QUEUES):
            each = self._seconds(read_route(key.route).model, names)
            work.queues.setdefault(key.priority, []).append((key, length, each))
        for level, count in self._waiting.sizes(lane).items():
            measured = work.queues.get(level, ())
            seen = sum(length for _, length, _ in measured)
            each = sum(length * each for _, length, each in measured) / seen if seen else 0.0
            work.seconds[level] = count * (each or self._durations.mean(names) or 0.0)
        return work

    def _seconds(self, model: str, names: Sequence[str]) -> float:
        known = self._durations.expect(model, names)
        return (self._durations.mean(names) or 0.0) if known is None else known


def _capacity(gates: Iterable[Gate]) -> int:
    """How many calls the backends run at once."""
    return sum(gate.parallel for gate in gates)
