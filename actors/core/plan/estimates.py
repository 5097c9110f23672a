"""When a waiting task may start: an estimate from how long calls have taken so far."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from ..model.entry import Entry
from ..routing.gates import Gate
from ..routing.routes import Lane, read_route
from .slots import Slots
from .waiting import QueueKey, WaitingRoom

WEIGHT = 0.2  # of the newest call in a mean
MOST_QUEUES = 50  # of a lane, that are looked at one by one


class Durations:
    """How long calls take, by model and backend: means that forget (exponential, weight 0.2)."""

    KEPT = 1000

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], float] = {}

    def note(self, model: str, backend: str, seconds: float) -> None:
        """A call has been answered after so many seconds."""
        known = self._means.pop((model, backend), seconds)
        self._means[model, backend] = known + (seconds - known) * WEIGHT
        if len(self._means) > self.KEPT:
            del self._means[next(iter(self._means))]  # the one not heard of for longest

    def expect(self, model: str, backends: Iterable[str]) -> float | None:
        """The mean of a model over these backends, in seconds; None if it is not known."""
        return _mean([m for b in backends if (m := self._means.get((model, b))) is not None])

    def mean(self, backends: Container[str]) -> float | None:
        """The mean over all models that these backends have run."""
        return _mean([mean for (_, b), mean in self._means.items() if b in backends])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


class _Work(NamedTuple):
    """What waits in a lane: seconds by level, and the queues of each, with what a call takes."""

    gates: Sequence[Gate]
    seconds: dict[int, float]
    queues: dict[int, list[tuple[QueueKey, int, float]]]


class Forecast:
    """One look at what waits and runs, from which the starts of many tasks are told.

    A task's start is the work in front of it over how many calls its backends take at once. The
    work in front is that of all tasks which these backends would run and which come first by
    priority, then by age, and half of what is running. Of tasks that other backends would run, too,
    these are thought to take their part. Tasks of models that were not seen yet count with the mean
    of the others; of very many queues some stand for all; policies, failures and the loading of
    models are left out.
    """

    def __init__(
        self, waiting: WaitingRoom, slots: Slots, durations: Durations, now: float
    ) -> None:
        self._waiting, self._slots, self._durations, self._now = waiting, slots, durations, now
        self._work: dict[Lane, _Work] = {}

    def start_of(self, entry: Entry) -> float | None:
        """Seconds until a due entry may start; None where nothing is known."""
        gates = self._of(self._waiting.lane(entry.route)).gates
        names = [gate.name for gate in gates]
        if self._durations.mean(names) is None:
            return None
        running = [running for running in self._slots if running.gate in gates]
        ahead = sum(self._seconds(running.model, names) for running in running) / 2
        for lane in self._waiting.lanes:
            work = self._of(lane)
            common = _capacity(gate for gate in work.gates if gate in gates)
            if common:
                ahead += self._ahead(work, entry) * common / _capacity(work.gates)
        return round(ahead / min(self._slots.count, _capacity(gates)), 3)

    def _ahead(self, work: _Work, entry: Entry) -> float:
        """Seconds of work in front of the entry."""
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
        gates = [gate for gate in lane.usable if gate.is_in]
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
    """How many calls they take at once."""
    return sum(gate.parallel for gate in gates)
