"""Counts since the start by model and backend, which only ever grow, for a monitoring system."""

from collections.abc import Iterable

from .tallies import OTHER, KindTally, Tallies, Tally

MOST_MODELS = 50  # with counts of their own


class Totals:
    """Sums by model and backend. A model has its own only once a backend has listed it.

    Names of models come from users: those that no backend lists are counted as "other", for good
    once that was shown, so that no sum ever decreases.
    """

    def __init__(self) -> None:
        self._new = Tallies()  # not shown yet
        self._sums: dict[tuple[str, str | None], Tally] = {}
        self._named: set[str] = set()

    def add(self, tallies: Iterable[KindTally]) -> None:
        for each in tallies:
            self._new.of((each.model, each.backend, None, ())).merge(each.tally)

    def shown(self, listed: frozenset[str]) -> list[KindTally]:
        """The sums, with models that are `listed` (canonical names) or were before, at most 50."""
        new, self._new = self._new.all(), Tallies()
        for each in new:
            model = each.model
            if model in listed and len(self._named) < MOST_MODELS:
                self._named.add(model)
            key = (model if model in self._named else OTHER, each.backend)
            self._sums.setdefault(key, Tally()).merge(each.tally)
        # Copies: what is sent to another thread must not change any more.
        return [
            KindTally(model, backend, None, (), _copy(tally))
            for (model, backend), tally in self._sums.items()
        ]


def _copy(tally: Tally) -> Tally:
    copy = Tally()
    copy.merge(tally)
    return copy
