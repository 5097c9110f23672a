"""Chooses the waiting task that runs next: strict priority and FIFO, plus optional policies.

The effect of each policy is bounded: `docs/scheduling.md` documents the bounds, tests enforce them.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import floor

from ..config.config import SchedulerSettings
from ..model.entry import Entry
from ..routing.lanes import Lane
from .waiting import SortKey, WaitingRoom

IN_TURNS = 2 / 3  # of the longest wait; the remainder allows for turns that overrun


def rank_of(aging_s: float | None) -> Callable[[Entry], float]:
    """The function that ranks entries: the lowest rank runs first, and a level is 1 wide.

    With aging a task climbs one priority every `aging_s` seconds. All climb at the same rate, so
    the order of two tasks never changes while they wait: a task is overtaken only by those queued
    less than `aging_s` seconds after it per priority that they are above it.
    """
    if aging_s is None:
        return _plain_rank
    return lambda entry: entry.queued_at / aging_s - entry.priority


def _plain_rank(entry: Entry) -> float:
    return -entry.priority


class PassedOver:
    """When entries were first passed over, to bound how long they can be.

    An entry is passed over when a later one of its level runs first. Only passings that reach
    further back in the level than all earlier ones are recorded, at a resolution of a fiftieth of
    the bound, so that few are kept: an entry may count as passed over slightly longer than it was,
    never shorter.
    """

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._levels: dict[int, tuple[list[SortKey], list[float]]] = {}
        """By whole rank: how far back passings reached, and when; both lists are sorted."""

    def __bool__(self) -> bool:
        """Whether an entry that was passed over may still wait."""
        return bool(self._levels)

    def note(self, order: SortKey, now: float) -> None:
        """Record that the entry at `order` ran before others ahead of it."""
        reached, at = self._levels.setdefault(floor(order[0]), ([], []))
        if reached and order <= reached[-1]:
            return
        if at and now < at[-1] + self._max_wait_s / 50:
            reached[-1] = order
        else:
            reached.append(order)
            at.append(now)
        while len(at) > 1 and at[1] + self._max_wait_s <= now:  # too old
            del reached[0], at[0]

    def since(self, order: SortKey) -> float | None:
        """When the entry at `order` was first passed over; None if it never was."""
        first = None
        for level in (floor(order[0]), floor(order[0]) + 1):  # with aging, a level can span two
            reached, at = self._levels.get(level, ((), ()))
            place = bisect_right(reached, order)
            if place < len(at) and (first is None or at[place] < first):
                first = at[place]
        return first

    def forget_before(self, order: SortKey) -> None:
        """Drop records of entries ahead of `order`, where nothing waits any more."""
        for level, (reached, at) in list(self._levels.items()):
            place = bisect_right(reached, order)
            del reached[:place], at[:place]
            if not reached:
                del self._levels[level]


class FairShares:
    """Shares one level fairly between tenants, by tokens: start-time fair queueing.

    Each tenant has a tag, the tokens it has used; the lowest tag is next. A tenant that returns
    after a pause starts at the others' level: unused share cannot be saved. A running call is
    charged the mean of earlier ones, and at its end what it used, if known (P. Goyal, H. Vin,
    H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996).
    """

    FIRST_GUESS = 256.0

    def __init__(self) -> None:
        self._tags: dict[str | None, float] = {}
        self._inside: dict[str | None, float] = {}  # charges of running calls
        self._floor = 0.0  # the lowest tag of an active tenant
        self._mean = self.FIRST_GUESS

    def tag(self, tenant: str | None) -> float:
        return max(self._tags.get(tenant, 0.0), self._floor)

    def begin(self, tenant: str | None) -> float:
        """Begin a call of the next tenant; returns its provisional charge."""
        least = [self._tags[name] - charged for name, charged in self._inside.items()]
        tag = self.tag(tenant)
        self._floor = min([tag, *least])
        self._tags[tenant] = tag + self._mean
        self._inside[tenant] = self._inside.get(tenant, 0.0) + self._mean
        if len(self._tags) > 10_000:  # tenants at the floor are as good as new
            self._tags = {name: tag for name, tag in self._tags.items() if tag > self._floor}
        return self._mean

    def end(self, tenant: str | None, charged: float, tokens: float | None) -> None:
        """End a call; if `tokens` is None, its use is unknown and the charge stays."""
        if tokens is not None:
            self._tags[tenant] += tokens - charged
            self._mean += (tokens - self._mean) / 16 if tokens else 0.0
        self._inside[tenant] -= charged
        if self._inside[tenant] < 0.5:  # less than any call costs
            del self._inside[tenant]


class Policy:
    """Chooses among the heads of the queues, according to the settings."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self._affinity = settings.policy == "affinity"
        self._max_wait = settings.affinity_max_wait
        self._fair = settings.fair
        self._aging = settings.aging is not None
        self._passed_over = PassedOver(settings.affinity_max_wait)
        self._turns: dict[tuple[str, int], float] = {}
        """When a route's turn in a level began, while any that it passed over may wait."""
        self._shares: dict[int, FairShares] = {}
        self.rank = rank_of(settings.aging)

    def choose(
        self,
        waiting: WaitingRoom,
        lanes: Sequence[Lane],
        is_warm: Callable[[Entry], bool],
        now: float,
    ) -> Entry:
        """The entry that runs next in one of `lanes`, each of which has a backend with free
        capacity.

        `is_warm`: whether the backend that would run the entry already has its model in memory.
        """
        if not (self._affinity or self._fair):
            return waiting.first(lanes)
        level = list(waiting.level(lanes))
        if self._fair:
            level = self._of_the_next_tenant(level)
        return self._warmest(waiting, lanes, level, is_warm, now) if self._affinity else level[0]

    def _of_the_next_tenant(self, level: list[Entry]) -> list[Entry]:
        """The entries of the tenant with the lowest tag."""
        least = min(level, key=self._tag_of)
        return [entry for entry in level if entry.tenant == least.tenant]

    def _tag_of(self, entry: Entry) -> float:
        return self._shares_of(entry).tag(entry.tenant)

    def _shares_of(self, entry: Entry) -> FairShares:
        return self._shares_at(entry.priority)

    def _shares_at(self, priority: int) -> FairShares:
        """The shares of a level; with aging, one for all levels."""
        return self._shares.setdefault(0 if self._aging else priority, FairShares())

    def _warmest(
        self,
        waiting: WaitingRoom,
        lanes: Sequence[Lane],
        level: list[Entry],
        is_warm: Callable[[Entry], bool],
        now: float,
    ) -> Entry:
        """The first entry whose model is in memory, if those ahead of it can be passed over again.

        A route goes ahead of others for its share of `affinity_max_wait` only, so that all get
        their turn in that time: else all would be overdue at once, and load for one task each.
        """
        first, *others = level
        self._passed_over.forget_before(waiting.order(waiting.first(waiting.offered)))
        if not self._passed_over:
            self._turns.clear()
        if is_warm(first):
            return first
        since = self._passed_over.since(waiting.order(first))
        if since is None or now < since + self._max_wait:
            servers = len({gate for lane in lanes for gate in lane.usable(now)})
            share = min(servers / len({entry.route for entry in level}), 1.0)
            for entry in others:
                if is_warm(entry) and self._has_turn(entry, share, now):
                    self._passed_over.note(waiting.order(entry), now)
                    return entry
        self._turns[first.route, first.priority] = now
        return first

    def _has_turn(self, entry: Entry, share: float, now: float) -> bool:
        key = (entry.route, entry.priority)
        began = self._turns.get(key)
        if began is None or began + self._max_wait <= now:
            began = self._turns[key] = now
        return now <= began + self._max_wait * IN_TURNS * share

    def clock_set(self) -> None:
        """Restart the bounds on passing over and on turns after the wall clock was set."""
        self._passed_over = PassedOver(self._max_wait)
        self._turns.clear()

    # --- what calls cost, for fairness ----------------------------------------------------------

    def begin(self, entry: Entry) -> float:
        """Begin a call; returns its tenant's provisional charge."""
        return self._shares_of(entry).begin(entry.tenant) if self._fair else 0.0

    def end(self, priority: int, tenant: str | None, charged: float, tokens: float | None) -> None:
        """End a call begun at `priority` that used `tokens`; None if unknown."""
        if self._fair:
            self._shares_at(priority).end(tenant, charged, tokens)
