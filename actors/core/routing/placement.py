"""All backends, which of them may run a route, and the choice of one for a task."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from types import MappingProxyType
from typing import Any

from ..config.config import Backend, ModelSettings, RemoteScheduling
from ..model.errors import choose_from
from ..model.model_names import model_name, spellings
from .fallbacks import Candidate, Fallbacks
from .gates import Gate
from .lanes import Lane, Tier
from .pins import Pins
from .routes import Route

TAG = "tag:"


class Gates:
    """All backends, and the rules for spreading tasks over them."""

    def __init__(
        self,
        gates: Iterable[Gate],
        rules: RemoteScheduling,
        models: Mapping[str, ModelSettings] = MappingProxyType({}),
    ) -> None:
        self._gates = {gate.name: gate for gate in gates}
        self.rules = rules
        self.fallbacks = Fallbacks(models)
        self._overflow_s = rules.after if rules.local_first_policy else None

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._gates.values())

    def get(self, name: str) -> Gate | None:
        return self._gates.get(name)

    @property
    def names(self) -> list[str]:
        return list(self._gates)

    def allowed(self, route: Route) -> list[Gate]:
        """The backends that may run a route at some time, whatever their models.

        With `remote`, these are the remote ones and, with `fallback_to_local`, the local ones too.
        """
        return [gate for gate in self if self._is_allowed(gate, route)]

    def _is_allowed(self, gate: Gate, route: Route) -> bool:
        if route.ollama_only and gate.type != "ollama":
            return False
        if route.remote and not (gate.remote or self.rules.fallback_to_local):
            return False
        if route.backend is None:
            return True
        return any(_means(name, gate) for name in route.backend.split(","))

    def why_none(self, route: Route) -> tuple[str, str]:
        """The field because of which no backend may ever run a route, and what would be right."""
        if route.backend is None:
            return "remote_execution", "remote_execution needs a remote backend, and there is none"
        if self.allowed(Route(route.model, backend=route.backend)):
            why = f"remote_execution needs a remote backend, and {route.backend} is a local one"
            return "remote_execution", why
        tags = sorted({TAG + tag for gate in self for tag in gate.tags})
        return "backend", f"backend must name a backend: {choose_from([*self.names, *tags])}"

    def why_shut(self, lane: Lane, route: Route, now: float) -> str:
        """Why no backend of a route's lane takes calls, in a few words."""
        if not lane:
            allowed = [gate.name for gate in self.allowed(route)]
            others = len(allowed) < len(self._gates)
            if not allowed or not others:
                return "no server has it"
            return f"{_few(allowed)} {'does' if len(allowed) == 1 else 'do'} not have it"
        return _few([f"{gate.name} is {gate.hindrance(now)}" for gate in lane.usable(now)])

    def lane(self, route: Route, waited: float = 0.0) -> Lane:
        """The backends that have, or may have, a model of the route, for tasks that have waited so
        many seconds; empty if there are none."""
        allowed = self.allowed(route)
        is_plain = not route.remote and self._overflow_s is None
        if is_plain and not self.fallbacks.has(route):
            serving = [gate for gate in allowed if gate.serves(route.model)]
            if not any(route.model in gate.pins.displacing for gate in serving):
                return Lane(tuple(serving))
        tiers = list(self._tiers(route, allowed))
        reached = max(tier.after for tier in tiers if tier.after <= waited)
        gates = (gate for tier in tiers if tier.after <= reached for gate in tier.gates)
        return Lane(tuple(gates), tuple(t for t in tiers if t.after > reached), reached)

    def _tiers(self, route: Route, allowed: list[Gate]) -> Iterator[Tier]:
        """By preference: for each model the local backends, then the remote ones, or the reverse.

        Where the model would displace a pinned one it runs only if no other backend is available. A
        tier without backends of its own counts, too: after its time, those before use its model.
        """
        sides = self._sides(route)
        for candidate in self.fallbacks.of(route):
            model = candidate.model
            serving = [gate for gate in allowed if gate.serves(model)]
            crowded = [gate for gate in serving if model in gate.pins.displacing]
            if len(crowded) == len(serving):
                crowded = []
            for after, remote in sides:
                gates = [g for g in serving if g.remote in remote and g not in crowded]
                yield Tier(candidate.after + after, tuple(gates))
            if crowded:
                yield Tier(inf, tuple(crowded))
            allowed = [gate for gate in allowed if gate not in serving or gate in crowded]

    def _sides(self, route: Route) -> list[tuple[float, tuple[bool, ...]]]:
        """After how long a wait tasks go to local backends (False) and to remote ones (True)."""
        if route.remote:
            return [(0.0, (True,)), (inf, (False,))]
        if self._overflow_s is not None:
            return [(0.0, (False,)), (self._overflow_s, (True,))]
        return [(0.0, (False, True))]

    def candidate(self, gate: Gate, route: Route, lane: Lane) -> Candidate:
        """The model with which a backend runs the tasks of a lane."""
        extra = 0.0
        if self.fallbacks.has(route):
            extra = next(after for after, remote in self._sides(route) if gate.remote in remote)
        return self.fallbacks.choose(gate, route, lane.waited - extra)

    def choose(
        self, lane: Lane, route: Route, avoid: str | None, waiting: int, now: float
    ) -> Gate | None:
        """The best of the lane's backends that can take a call now.

        Preferred, in this order: not the backend on which it failed last; that with which the task
        gets its own model, or the first of its fallbacks; a local one, unless
        `local_first_policy` is off or more than `max_local_queue_size` tasks wait (`waiting`); one
        that supports all of the task's options; one that need not load the model, or reload it with
        other runner options; one that pins no other models; the higher `priority`; the fewest
        running calls; the settings' order.
        """
        usable = lane.usable(now)
        if len(usable) == 1:
            return usable[0] if usable[0].is_open(now) else None
        rules = self.rules
        locals_first = rules.local_first_policy and waiting <= rules.max_local_queue_size
        has_fallbacks = self.fallbacks.has(route)
        model, place = route.model, 0
        best: tuple[Any, ...] | None = None
        chosen = None
        for gate in usable:
            if not gate.is_open(now):
                continue
            if has_fallbacks:
                model, _, _, place = self.candidate(gate, route, lane)
            rank = (
                gate.name == avoid,
                place,
                locals_first and gate.remote,
                route.hints and gate.type != "ollama",
                not gate.has_loaded(model, route.runner),
                bool(gate.pins) and model not in gate.pins,
                -gate.priority,
                gate.running,
            )
            if best is None or rank < best:
                best, chosen = rank, gate
        return chosen


def _means(name: str, gate: Gate) -> bool:
    """Whether a backend is the one named, or has the tag of `tag:NAME`."""
    return name.removeprefix(TAG) in gate.tags if name.startswith(TAG) else name == gate.name


def _few(names: list[str], most: int = 3) -> str:
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def gates_of(
    backends: Iterable[Backend],
    rules: RemoteScheduling,
    kept: Mapping[str, Iterable[str]] = MappingProxyType({}),
    models: Mapping[str, ModelSettings] = MappingProxyType({}),
) -> Gates:
    """Gates for these backends, which are not probed yet; `kept` are the models that each must have
    in memory, `models` the settings of models."""
    gates = [_gate(backend, kept.get(backend.name, ())) for backend in backends]
    return Gates(gates, rules, models)


def _gate(backend: Backend, kept: Iterable[str]) -> Gate:
    pinned = frozenset(map(model_name, backend.models)) if backend.models else None
    return Gate(
        name=backend.name,
        type=backend.type,
        parallel=backend.parallel or 1,
        remote=bool(backend.remote),
        priority=backend.priority,
        tags=frozenset(backend.tags),
        models=pinned,
        spelled=spellings(backend.models),
        is_pinned=pinned is not None,
        is_known=pinned is not None,
        is_unseen=pinned is None,
        pins=Pins(kept),
    )
