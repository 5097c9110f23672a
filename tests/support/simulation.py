"""Simulates a plan with model servers whose calls take known times, without waiting."""

import heapq
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ollama_queue.actors.core.messages import Submit
from ollama_queue.actors.core.model.orders import Change, Order, Probe, Run
from ollama_queue.actors.core.model.outcomes import Answered, Outcome, ProbeResult
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.core.plan.plan import Plan
from tests.support.plans import NOW

SimulatedCall = Callable[[Submit], tuple[float, Outcome]]
"""A call's duration in seconds, and its outcome."""


class Start(NamedTuple):
    """A call that began `at` seconds after the first instant."""

    task_id: str
    backend: str
    at: float


def answer(seconds: float = 1.0, tokens: int = 10) -> SimulatedCall:
    """Calls that all take `seconds` and `tokens`."""
    return lambda asked: (seconds, Answered(b"{}", reply_tokens=tokens))


class Simulation:
    """Carries out a plan's orders. Each server has memory for one model; a load takes `load_s`."""

    def __init__(self, plan: Plan, answer: SimulatedCall, load_s: float = 0.0) -> None:
        self.plan, self._answer, self._load_s = plan, answer, load_s
        self.asked: dict[str, Submit] = {}
        self.starts: list[Start] = []
        self.ends: dict[str, Status] = {}
        self.took: dict[str, Outcome] = {}
        self.loads = 0
        self.now = 0.0
        self._loaded: dict[str, str] = {}
        self._events: list[tuple[float, int, Run | str]] = []
        self._count = 0

    def arrive(self, task_id: str, asked: Submit, at: float = 0.0) -> None:
        """Schedule the submit of a task."""
        self.asked[task_id] = asked
        self._expect(at, task_id)

    def run(self, until: float = float("inf")) -> None:
        """Run until `until`, or until nothing is left to happen."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            instant = NOW + self.now
            if isinstance(event, str):
                self.obey(self.plan.submit(event, self.asked[event], instant))
            else:
                _, outcome = self._answer(self.asked[event.task_id])
                self.took[event.task_id] = outcome
                slot, task_id, attempt = event.slot, event.task_id, event.attempt
                self.obey(self.plan.finished(slot, task_id, attempt, outcome, instant, 0.5))

    def obey(self, orders: Iterable[Order]) -> None:
        for order in orders:
            match order:
                case Run():
                    self._call(order)
                case Probe(backend):
                    loaded = frozenset({self._loaded.get(backend, "")} - {""})
                    self.obey(self.plan.probed(backend, ProbeResult(loaded=loaded), NOW + self.now))
                case Change(task_id, {"status": status}):
                    assert task_id not in self.ends, "what has ended stays as it ended"
                    if Status(status).is_final:
                        self.ends[task_id] = status
                case _:
                    pass

    def _call(self, run: Run) -> None:
        self.starts.append(Start(run.task_id, run.backend, self.now))
        asked = self.asked[run.task_id]
        seconds, _ = self._answer(asked)
        if self._loaded.get(run.backend) != asked.new.model:
            self._loaded[run.backend] = asked.new.model
            self.loads += 1
            seconds += self._load_s
        self._expect(self.now + seconds, run)

    def _expect(self, at: float, event: Run | str) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, event))

    # --- what came of it ------------------------------------------------------------------------

    @property
    def started_at(self) -> dict[str, float]:
        """When each task first started."""
        return {start.task_id: start.at for start in reversed(self.starts)}


def passed_over_s(order: list[str], started_at: dict[str, float]) -> dict[str, float]:
    """For each task in order: the time from the first to the last later task that ran before it.
    By brute force."""
    spans = {}
    for place, task_id in enumerate(order):
        behind = [started_at[other] for other in order[place + 1 :]]
        passing = [at for at in behind if at < started_at[task_id]]
        spans[task_id] = max(passing) - min(passing) if passing else 0.0
    return spans
