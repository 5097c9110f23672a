"""When a waiting task may start: an estimate from how long calls have taken so far."""

from collections.abc import Container, Iterable, Sequence

from ollama_queue.actors.core.entries import Entry
from ollama_queue.actors.core.routing import Lane, read_route
from ollama_queue.actors.core.slots import Slots
from ollama_queue.actors.core.waiting import WaitingRoom

WEIGHT = 0.2  # of the newest call in a mean
MOST_QUEUES = 200  # of which each is weighed by its own model


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


class Forecast:
    """One look at what waits and runs, from which the starts of many tasks are told.

    A task's start is the work in front of it over how many calls its backends take at once. The
    work in front is that of all tasks which the same backends would run and which come first by
    priority, then by age; of its own level the part that its place in its own queue suggests; and
    half of what is running. Tasks of models that were not seen yet count with the mean of the
    others, as do all where there are very many queues; policies, failures and the loading of models
    are left out.
    """

    def __init__(self, room: WaitingRoom, slots: Slots, durations: Durations, now: float) -> None:
        self._room, self._slots, self._durations, self._now = room, slots, durations, now
        self._work: dict[Lane, dict[int, float] | None] = {}

    def start_of(self, entry: Entry) -> float | None:
        """Seconds until a due entry may start; None where nothing is known."""
        lane = self._room.lane(entry.route)
        work = self._of(lane)
        if work is None:
            return None
        before, length = self._room.place(entry)
        ahead = sum(seconds for level, seconds in work.items() if level > entry.priority)
        ahead += work.get(entry.priority, 0.0) * before / length
        capacity = min(self._slots.count, sum(gate.parallel for gate in lane.usable))
        return round((ahead + work[_RUNNING]) / capacity, 3)

    def _of(self, lane: Lane) -> dict[int, float] | None:
        if lane not in self._work:
            self._work[lane] = self._measure(lane) if lane else None
        return self._work[lane]

    def _measure(self, lane: Lane) -> dict[int, float] | None:
        """Seconds of work by level, with half of what runs under `_RUNNING`."""
        gates = lane.usable
        names = [gate.name for gate in gates]
        other = self._durations.mean(names)
        if other is None:
            return None

        def seconds(model: str) -> float:
            known = self._durations.expect(model, names)
            return other if known is None else known

        inside = sum(seconds(running.model) for running in self._slots if running.gate in gates)
        work = {_RUNNING: inside / 2}
        if self._room.queues(lane) > MOST_QUEUES:
            return work | {level: n * other for level, n in self._room.sizes(lane).items()}
        for key, length in self._room.lengths(lane):
            each = seconds(read_route(key.route).model)
            work[key.priority] = work.get(key.priority, 0.0) + length * each
        return work


_RUNNING = 0  # beside the levels, which begin at 1
