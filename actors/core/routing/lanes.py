"""Lanes: the backends that can run a route's tasks, at once or later."""

from math import inf
from typing import NamedTuple

from .gates import Gate


class Tier(NamedTuple):
    """Backends that may run tasks that have waited `after` seconds (inf: however long they have),
    or while no backend of the tiers before is available."""

    after: float
    gates: tuple[Gate, ...]


class Lane(NamedTuple):
    """The backends that can run a route and have its model, in order of preference.

    Those of `gates` are open to tasks that have waited `waited` seconds (0 for most routes). Those
    of `later`, a tier at a time, count only while none before them is available.
    """

    gates: tuple[Gate, ...]
    later: tuple[Tier, ...] = ()
    waited: float = 0.0

    @property
    def next_at(self) -> float:
        """How long a task has to wait until more backends are open to it, in seconds."""
        return min((tier.after for tier in self.later), default=inf)

    def usable(self, now: float) -> tuple[Gate, ...]:
        """The backends that get tasks at the moment, full or not."""
        gates = self.gates
        if not self.later:
            return gates
        patience = self.next_at - self.waited
        for tier in self.later:
            if any(gate.is_available(now, patience) for gate in gates):
                break
            gates = (*gates, *tier.gates)
        return gates

    def is_open(self, now: float) -> bool:
        """Whether one of them can take a call now, and none awaits its first probe."""
        is_open = False
        for gate in self.usable(now):
            if gate.is_unseen:
                return False
            is_open = is_open or gate.is_open(now)
        return is_open

    def is_shut(self, now: float) -> bool:
        """Whether none would take a call even with capacity, and none awaits its first probe."""
        return not any(
            (gate.is_in and not gate.is_resting(now)) or (gate.is_unseen and not gate.drained)
            for gate in self.usable(now)
        )

    def __bool__(self) -> bool:
        return bool(self.gates or any(tier.gates for tier in self.later))
