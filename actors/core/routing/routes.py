"""Where a task may run: its route, and the choice of a backend."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.json import Encoder, decode

from ..config.config import Backend, RemoteScheduling
from ..model.model_names import RUNNER_OPTIONS, model_name, spellings
from .gates import Gate
from .pins import Pins

_ENCODER = Encoder(order="deterministic")
TAG = "tag:"
_RULES = " {"  # starts the rules in a route key


class Lane(NamedTuple):
    """The backends that can run a route and have its model, in the order of the settings.

    Those of `instead` count only while none of `gates` is available.
    """

    gates: tuple[Gate, ...]
    instead: tuple[Gate, ...] = ()

    @property
    def usable(self) -> tuple[Gate, ...]:
        """The backends that get tasks at the moment, full or not."""
        if self.instead and not any(gate.is_in or gate.is_unseen for gate in self.gates):
            return self.instead
        return self.gates

    def is_open(self, now: float) -> bool:
        """Whether one of them can take a call now, and none awaits its first probe."""
        is_open = False
        for gate in self.usable:
            if gate.is_unseen:
                return False
            is_open = is_open or gate.is_open(now)
        return is_open

    def is_shut(self, now: float) -> bool:
        """Whether none would take a call even with capacity, and none awaits its first probe."""
        return not any(
            (gate.is_in and not gate.is_resting(now)) or (gate.is_unseen and not gate.drained)
            for gate in self.usable
        )

    def __bool__(self) -> bool:
        return bool(self.gates or self.instead)


class Route(Struct, frozen=True):
    """What decides where a task may run. All backends treat tasks of one route alike.

    `runner` are the runner options as JSON; `backend` and `remote` are the task's restrictions.
    With `ollama_only`, only Ollama servers support it; with `hints`, other servers would get it
    without some options.
    """

    model: str
    runner: str = ""
    backend: str | None = None
    remote: bool = False
    ollama_only: bool = False
    hints: bool = False


def route_key(
    model: str,
    options: Mapping[str, Any],
    *,
    backend: str | None = None,
    remote: bool = False,
    ollama_only: bool = False,
    hints: bool = False,
) -> str:
    """A task's `Route` as text, short for the most common ones; `read_route` parses it."""
    name = model_name(model)
    is_plain = not (options or backend or remote or ollama_only or hints)
    if is_plain and _RULES not in name:
        return name
    rules: dict[str, Any] = {name: options[name] for name in options.keys() & RUNNER_OPTIONS}
    placement = {"@backend": backend, "@remote": remote, "@ollama": ollama_only, "@hints": hints}
    rules |= {name: value for name, value in placement.items() if value}
    if _RULES in name:  # do not parse what a user wrote as rules
        rules, name = {"@model": name, **rules}, ""
    return f"{name} {_ENCODER.encode(rules).decode()}" if rules else name


@lru_cache(maxsize=4096)
def read_route(key: str) -> Route:
    """Parse a route key."""
    model, brace, rest = key.partition(_RULES)
    model = model_name(model)  # an older store has names in their original spelling
    if not brace:
        return Route(model)
    rules: dict[str, Any] = decode("{" + rest)
    backend, remote = rules.pop("@backend", None), rules.pop("@remote", False)
    only, hints = rules.pop("@ollama", False), rules.pop("@hints", False)
    model = rules.pop("@model", model)
    runner = _ENCODER.encode(rules).decode() if rules else ""
    return Route(model, runner, backend, remote, only, hints)


class Gates:
    """All backends, and the rules for spreading tasks over them."""

    def __init__(self, gates: Iterable[Gate], rules: RemoteScheduling) -> None:
        self._gates = {gate.name: gate for gate in gates}
        self.rules = rules

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
        if route.backend.startswith(TAG):
            return route.backend.removeprefix(TAG) in gate.tags
        return route.backend == gate.name

    def why_none(self, route: Route) -> tuple[str, str]:
        """The field because of which no backend may ever run a route, and what would be right."""
        if route.backend is None:
            return "remote_execution", "remote_execution needs a remote backend, and there is none"
        if self.allowed(Route(route.model, backend=route.backend)):
            why = f"remote_execution needs a remote backend, and {route.backend} is a local one"
            return "remote_execution", why
        tags = sorted({TAG + tag for gate in self for tag in gate.tags})
        return (
            "backend",
            f"backend must name a backend: there are {', '.join([*self.names, *tags])}",
        )

    def why_shut(self, lane: Lane, route: Route, now: float) -> str:
        """Why no backend of a route's lane takes calls, in a few words."""
        if not lane:
            allowed = [gate.name for gate in self.allowed(route)]
            others = len(allowed) < len(self._gates)
            if not allowed or not others:
                return "no server has it"
            return f"{_few(allowed)} {'does' if len(allowed) == 1 else 'do'} not have it"
        return _few([f"{gate.name} is {gate.hindrance(now)}" for gate in lane.usable])

    def lane(self, route: Route) -> Lane:
        """The backends that have, or may have, the route's model; empty if there are none."""
        serving = [gate for gate in self.allowed(route) if gate.serves(route.model)]
        if not route.remote:
            # Where it would displace a pinned model it runs only if no other backend is available.
            crowded = [gate for gate in serving if route.model in gate.pins.displacing]
            roomy = tuple(gate for gate in serving if gate not in crowded)
            return Lane(roomy, tuple(crowded)) if roomy else Lane(tuple(serving))
        remote = tuple(gate for gate in serving if gate.remote)
        return Lane(remote, tuple(gate for gate in serving if not gate.remote))

    def choose(
        self, lane: Lane, route: Route, avoid: str | None, waiting: int, now: float
    ) -> Gate | None:
        """The best of the lane's backends that can take a call now.

        Preferred, in this order: not the backend on which it failed last; a local one, unless
        `local_first_policy` is off or more than `max_local_queue_size` tasks wait (`waiting`); one
        that supports all of the task's options; one that need not load the model, or reload it with
        other runner options; one that pins no other models; the higher `priority`; the fewest
        running calls; the settings' order.
        """
        if len(lane.usable) == 1:
            only = lane.usable[0]
            return only if only.is_open(now) else None
        rules = self.rules
        locals_first = rules.local_first_policy and waiting <= rules.max_local_queue_size
        best: tuple[Any, ...] | None = None
        chosen = None
        for gate in lane.usable:
            if not gate.is_open(now):
                continue
            rank = (
                gate.name == avoid,
                locals_first and gate.remote,
                route.hints and gate.type != "ollama",
                not gate.has_loaded(route.model, route.runner),
                bool(gate.pins) and route.model not in gate.pins,
                -gate.priority,
                gate.running,
            )
            if best is None or rank < best:
                best, chosen = rank, gate
        return chosen


def _few(names: list[str], most: int = 3) -> str:
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def gates_of(
    backends: Iterable[Backend],
    rules: RemoteScheduling,
    kept: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Gates:
    """Gates for these backends, which are not probed yet; `kept` are the models that each must have
    in memory."""
    return Gates([_gate(backend, kept.get(backend.name, ())) for backend in backends], rules)


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
