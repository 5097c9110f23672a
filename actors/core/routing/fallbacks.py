"""Fallbacks: models that may run a task in place of its own, in order, and when each may."""

from collections.abc import Mapping
from functools import lru_cache
from math import inf
from typing import NamedTuple

from ..config.config import FALLBACK_AFTER_S, ModelSettings
from ..model.model_names import model_name
from .gates import Gate
from .routes import Route, give_up_model, read_route


class Candidate(NamedTuple):
    """A model that may run a route's tasks: its canonical name, and its place in their list.

    `fallback` is its name as the list spells it; None for the tasks' own model. It is open to tasks
    that have waited `after` seconds.
    """

    model: str
    fallback: str | None = None
    after: float = 0.0
    place: int = 0


class Fallbacks:
    """Knows the candidates of each route: a task's own list, else that of the settings.

    Lists are not followed from one model to the next: a fallback's own fallbacks do not count.
    """

    def __init__(self, models: Mapping[str, ModelSettings]) -> None:
        self._settings = {model_name(name): settings for name, settings in models.items()}
        self.of = lru_cache(maxsize=4096)(self._candidates)
        """The candidates of a route with fallbacks, best first; there is at least one."""

    def has(self, route: Route) -> bool:
        """Whether other models may run the route's tasks."""
        if route.fallbacks is not None:
            return bool(route.fallbacks)
        settings = self._settings.get(route.model) if self._settings else None
        return settings is not None and bool(settings.fallback) and not route.is_embed

    def _candidates(self, route: Route) -> tuple[Candidate, ...]:
        settings = self._settings.get(route.model)
        names = route.fallbacks
        if names is None:
            names = tuple(settings.fallback) if settings and not route.is_embed else ()
        after = settings.after if settings else FALLBACK_AFTER_S
        models = {route.model: None} | {model_name(name): name for name in names}
        left = [item for item in models.items() if item[0] not in route.given_up]
        left = left or list(models.items())  # the settings have changed since
        wait = inf if after is None else after
        return tuple(
            Candidate(model, fallback, place * wait if place else 0.0, place)
            for place, (model, fallback) in enumerate(left)
        )

    def choose(self, gate: Gate, route: Route, waited: float) -> Candidate:
        """The model with which a backend runs a task that it has been open to for `waited` seconds.

        The last of those open to the task, so that a server that has several does not keep it
        waiting for the slower one; the first of all if it has none of these.
        """
        if not self.has(route):
            return Candidate(route.model)
        candidates = self.of(route)
        served = [each for each in candidates if gate.serves(each.model)]
        is_open = [each for each in served if each.after <= waited]
        return is_open[-1] if is_open else served[0] if served else candidates[0]

    def without(self, key: str, model: str) -> str | None:
        """A route's key without one of its models; None if there is no other."""
        route = read_route(key)
        if not self.has(route) or len(self.of(route)) == 1:
            return None
        return give_up_model(key, model)
