"""Which of the waiting tasks runs next: strict priority and FIFO, and what users may add to it.

Each policy is bounded: `docs/scheduling.md` says by what, and the tests hold it to that.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from ollama_queue.actors.core.config import Scheduler
from ollama_queue.actors.core.entries import Entry
from ollama_queue.actors.core.routing import Lane
from ollama_queue.actors.core.waiting import Order, WaitingRoom


def rank_of(aging_s: float | None) -> Callable[[Entry], float]:
    """How a level is numbered, the first to run the lowest; a level is 1 wide.

    With aging a task climbs one priority each `aging_s` seconds. All climb alike, so that of two
    tasks the order never changes while they wait: a task is overtaken only by those that were
    queued less than `aging_s` seconds after it for each priority that they are above it.
    """
    if aging_s is None:
        return _plain_rank
    return lambda entry: entry.queued_at / aging_s - entry.priority


def _plain_rank(entry: Entry) -> float:
    return -entry.priority


class Passing:
    """When entries were passed over first, for a bound on how long that may go on.

    An entry is passed over when one behind it in order runs in its stead. Of all passings only
    those count that reached further back than all before them.
    """

    def __init__(self) -> None:
        self._reached: list[Order] = []  # both lists grow together, and each is sorted
        self._at: list[float] = []

    def note(self, order: Order, now: float) -> None:
        """The entry at `order` ran before others that stand in front of it."""
        if not self._reached or order > self._reached[-1]:
            self._reached.append(order)
            self._at.append(now)

    def since(self, order: Order) -> float | None:
        """When the entry at `order` was passed over first; None if it never was."""
        place = bisect_right(self._reached, order)
        return self._at[place] if place < len(self._at) else None

    def forget_before(self, order: Order) -> None:
        """Nothing waits in front of `order` any more."""
        place = bisect_right(self._reached, order)
        del self._reached[:place], self._at[:place]


class Shares:
    """Fair sharing of one level between tenants, by tokens: start-time fair queueing.

    Each tenant has a tag, the tokens that it has had; who has the lowest is next. Who comes back
    after a pause begins where the others are, and cannot save up. While a call runs it counts with
    the mean of those before; at its end with what it took (P. Goyal, H. Vin, H. Cheng,
    "Start-time Fair Queuing", SIGCOMM 1996).
    """

    FIRST_GUESS = 256.0

    def __init__(self) -> None:
        self._tags: dict[str | None, float] = {}
        self._floor = 0.0  # the tag of the tenant that was served last
        self._mean = self.FIRST_GUESS

    def tag(self, tenant: str | None) -> float:
        return max(self._tags.get(tenant, 0.0), self._floor)

    def begin(self, tenant: str | None) -> float:
        """A call of the tenant begins; returns what it is charged for now."""
        self._floor = self.tag(tenant)
        self._tags[tenant] = self._floor + self._mean
        if len(self._tags) > 10_000:  # those below the floor have no more claim than a new one
            self._tags = {name: tag for name, tag in self._tags.items() if tag > self._floor}
        return self._mean

    def end(self, tenant: str | None, charged: float, tokens: float | None) -> None:
        """The call has ended; `tokens` None when it is to cost nothing, as it failed."""
        if tokens is not None:
            self._mean += (max(tokens, 1.0) - self._mean) / 16
        cost = 0.0 if tokens is None else max(tokens, 1.0)
        if tenant in self._tags:
            self._tags[tenant] += cost - charged


class Policy:
    """Chooses among the heads of the queues, by the settings."""

    def __init__(self, settings: Scheduler) -> None:
        self._affinity = settings.policy == "affinity"
        self._max_wait = settings.affinity_max_wait
        self._fair = settings.fair
        self._passing = Passing()
        self._shares: dict[int, Shares] = {}
        self.rank = rank_of(settings.aging)

    def choose(
        self,
        room: WaitingRoom,
        lanes: Sequence[Lane],
        is_loaded: Callable[[Entry], bool],
        now: float,
    ) -> Entry:
        """The entry that runs next in one of `lanes`, which all have a backend that can take it.

        `is_loaded`: whether such a backend has the entry's model loaded already.
        """
        if not (self._affinity or self._fair):
            return room.first(lanes)
        level = list(room.level(lanes))
        if self._fair:
            level = self._of_the_next_tenant(level)
        return self._warmest(room, level, is_loaded, now) if self._affinity else level[0]

    def _of_the_next_tenant(self, level: list[Entry]) -> list[Entry]:
        """The entries of the tenant that has had least."""
        least = min(level, key=self._tag_of)
        return [entry for entry in level if entry.tenant == least.tenant]

    def _tag_of(self, entry: Entry) -> float:
        return self._shares_of(entry).tag(entry.tenant)

    def _shares_of(self, entry: Entry) -> Shares:
        return self._shares.setdefault(entry.priority, Shares())

    def _warmest(
        self,
        room: WaitingRoom,
        level: list[Entry],
        is_loaded: Callable[[Entry], bool],
        now: float,
    ) -> Entry:
        """The first whose model is loaded, if those before it can be passed over once more."""
        first, *others = level
        self._passing.forget_before(room.order(room.first(room.lanes)))
        if others and not is_loaded(first):
            since = self._passing.since(room.order(first))
            if since is None or now < since + self._max_wait:
                for entry in others:
                    if is_loaded(entry):
                        self._passing.note(room.order(entry), now)
                        return entry
        return first

    # --- what calls cost, for fairness ----------------------------------------------------------

    def begin(self, entry: Entry) -> float:
        """A call begins; returns what its tenant is charged for now."""
        return self._shares_of(entry).begin(entry.tenant) if self._fair else 0.0

    def end(self, priority: int, tenant: str | None, charged: float, tokens: float | None) -> None:
        """A call, begun at `priority`, has ended and took so many tokens; None: it failed."""
        if self._fair:
            self._shares.setdefault(priority, Shares()).end(tenant, charged, tokens)
