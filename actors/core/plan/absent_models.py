"""Models that no backend has: their tasks wait up to `model_wait`, then fail."""

from collections.abc import Iterable, Iterator

from ..model.entry import Entry
from ..model.orders import Order, Probe
from ..routing.placement import Gates
from ..routing.routes import Route, read_route
from .waiting import WaitingRoom


class AbsentModels:
    """Tracks since when each route has waited for a model that none of its backends lists.

    A backend that has not been probed may have the model. The others are probed again at once, as
    the model may be new.
    """

    def __init__(self, waiting: WaitingRoom, gates: Gates, wait_s: float) -> None:
        self._waiting, self._gates, self._wait_s = waiting, gates, wait_s
        self._since: dict[str, float] = {}
        self.next_due: float | None = None
        """When `expire` next has work, or slightly earlier."""

    def check(self, stuck: Iterable[str], now: float) -> Iterator[Order]:
        """Start the wait of routes whose model no backend has, and probe their backends."""
        ask_again: dict[str, Probe] = {}
        for route in stuck:
            if route not in self._since:
                self._since[route] = now
                gates = self._gates.allowed(read_route(route))
                ask_again |= {gate.name: Probe(gate.name, 0.0) for gate in gates}
        yield from ask_again.values()
        self._find_next()

    def clock_set(self, step: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds."""
        self._since = {route: since + step for route, since in self._since.items()}
        self._find_next()

    def expire(self, now: float) -> Iterator[tuple[Entry, str]]:
        """Yield the entries whose wait is over, and why each fails; removes none of them."""
        if self.next_due is None or self.next_due > now:
            return
        for route in list(self._since):
            while self._waiting.is_stuck(route):
                entry = self._waiting.oldest_of(route)
                if self._due(route, entry) > now:
                    break
                yield entry, self._why(read_route(route))
        self._find_next()

    def _due(self, route: str, entry: Entry) -> float:
        return max(self._since[route], entry.queued_at) + self._wait_s

    def _find_next(self) -> None:
        self._since = {r: since for r, since in self._since.items() if self._waiting.is_stuck(r)}
        dues = (self._due(route, self._waiting.oldest_of(route)) for route in self._since)
        self.next_due = min(dues, default=None)

    def _why(self, route: Route) -> str:
        backends = [gate.name for gate in self._gates.allowed(route)]
        waited = f"within {self._wait_s:g} s (scheduler.model_wait)"
        if not backends:
            wish = route.backend or ("a remote one" if route.remote else "an Ollama")
            return f"no backend that may run it ({wish}) appeared {waited}"
        names, it, others = ", ".join(backends), "it", ""
        if self._gates.fallbacks.has(route):
            fallbacks = [each.fallback for each in self._gates.fallbacks.of(route) if each.fallback]
            it, noun = "one", "fallback" if len(fallbacks) == 1 else "fallbacks"
            others = f" or its {noun} {', '.join(fallbacks)}"
        return f"no backend has the model {route.model}{others}: {names} did not list {it} {waited}"
