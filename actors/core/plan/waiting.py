"""Waiting tasks: one queue per route, tenant and priority, and those not due yet."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from sortedcontainers import SortedKeyList, SortedList

from ..model.entry import Entry
from ..model.tasks import WaitingFor
from ..routing.lanes import Lane

ROUNDING_S = 1e-6  # more than the rounding of an instant
STEP = 256  # entries added in one step

SortKey = tuple[float, float, str]
"""An entry's place in the total order: the rank of its level, when it was queued, its id."""


class QueueKey(NamedTuple):
    """Entries with the same key wait in one queue, ordered by age alone."""

    route: str
    tenant: str | None
    priority: int


QueueHead = tuple[SortKey, QueueKey]


def _age_of(entry: Entry) -> tuple[float, str]:
    return (entry.queued_at, entry.id)


def _due_of(entry: Entry) -> tuple[float, str]:
    return (entry.due, entry.id)


def _key_of(entry: Entry) -> QueueKey:
    return QueueKey(entry.route, entry.tenant, entry.priority)


class WaitingRoom:
    """All waiting entries; each lane keeps the heads of its routes' queues sorted.

    `rank` gives an entry's level, the lowest first; `lane_of` gives the backends that can run a
    route's tasks when they have waited so many seconds. A queue whose head has waited for more
    backends is in another lane than the rest of its route, until it has a younger head. An
    operation is O(log n) in the number of tasks; `regroup` is O(routes).
    """

    def __init__(
        self, rank: Callable[[Entry], float], lane_of: Callable[[str, float], Lane]
    ) -> None:
        self._rank, self._lane_of = rank, lane_of
        self._now = self._waits_from = 0.0
        self._held: set[str] = set()  # tenants of which nothing may start now
        self._clear()

    def _count(self, entry: Entry, reason: WaitingFor, step: int) -> None:
        """Count entries like this one that begin or (negative) cease to wait for a reason."""
        self._reasons[reason] += step
        tenant = entry.tenant
        if tenant is None:
            return
        counts = self._of_tenant.setdefault(tenant, Counter())
        counts[reason] += step
        if not counts.total():
            del self._of_tenant[tenant]

    def _clear(self) -> None:
        self._lines: dict[QueueKey, SortedKeyList[Entry]] = {}  # oldest first
        self._keys: dict[str, set[QueueKey]] = {}  # by route
        self._lanes: dict[str, Lane] = {}  # by route
        self._heads: dict[Lane, SortedList[QueueHead]] = {}
        self._sizes: dict[Lane, Counter[int]] = {}  # number of entries by priority
        self._later: SortedKeyList[Entry] = SortedKeyList(key=_due_of)
        self._reasons: Counter[WaitingFor] = Counter()
        self._of_tenant: dict[str, Counter[WaitingFor]] = {}
        self._keys_of_tenant: dict[str, set[QueueKey]] = {}
        self._widened: dict[QueueKey, Lane] = {}  # of heads that have waited for more backends
        self._steps: list[tuple[float, QueueKey]] = []  # a heap: when heads will have waited
        self._stuck: list[str] = []
        self._ages: list[tuple[float, str, QueueKey]] = []  # a heap of current and former heads
        self.bytes = 0

    def __len__(self) -> int:
        return self._reasons.total()

    @property
    def ready(self) -> int:
        """How many entries are due."""
        return self._reasons[WaitingFor.SLOT]

    # --- in and out -----------------------------------------------------------------------------

    def add(self, entry: Entry, now: float) -> None:
        """Add an entry."""
        self.bytes += entry.size
        if entry.due > now:
            self._later.add(entry)
            self._count(entry, _reason(entry), 1)
        else:
            _come(entry)
            self._enqueue(entry)

    def fill(self, entries: Iterable[Entry], now: float) -> Iterator[None]:
        """Add many entries at once, as at a boot: sorted together, not one by one. In steps."""
        ready: dict[QueueKey, list[Entry]] = {}
        line: list[Entry] = []
        key = None
        for number, entry in enumerate(entries, 1):
            if number % STEP == 0:
                yield
            if entry.due > now:
                self.add(entry, now)
                continue
            if entry.due:
                _come(entry)
            self.bytes += entry.size
            if key != (entry.route, entry.tenant, entry.priority):  # neighbours on disk share one
                key = _key_of(entry)
                line = ready.setdefault(key, [])
            line.append(entry)
        for key, line in ready.items():
            self._count(line[0], WaitingFor.SLOT, len(line))
            self._open_line(key, SortedKeyList(line, key=_age_of))
            yield

    def remove(self, entry: Entry) -> None:
        """Remove an entry, due or not."""
        self.bytes -= entry.size
        if entry.due > 0:
            self._later.remove(entry)
            self._count(entry, _reason(entry), -1)
            return
        self._count(entry, WaitingFor.SLOT, -1)
        key = _key_of(entry)
        line, lane = self._lines[key], self._lane_at(key)
        self._sizes[lane][key.priority] -= 1
        if line[0] is not entry:
            line.remove(entry)
            return
        self._take_head(lane, key, entry)
        del line[0]
        if line:
            self._lead(key, line, lane)
        else:
            self._close_line(key, lane)

    def promote_due(self, now: float) -> None:
        """Move entries that have become due into their queues."""
        while self._later and self._later[0].due <= now:
            entry = self._later.pop(0)
            self._count(entry, _reason(entry), -1)
            _come(entry)
            self._enqueue(entry)

    def clock_set(self, step: float, now: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds: waits so far and delays of
        retries keep their lengths; scheduled entries follow the clock."""
        entries = [*self._later, *(entry for line in self._lines.values() for entry in line)]
        for entry in entries:
            is_retry = entry.attempt > 0
            if entry.due and is_retry:
                entry.due += step
            entry.due = abs(entry.due)
            if is_retry or entry.queued_at != entry.due:
                entry.queued_at += step
        self._waits_from += step
        self._now = now
        self._clear()
        for _ in self.fill(entries, now):
            pass

    def _enqueue(self, entry: Entry) -> None:
        self._count(entry, WaitingFor.SLOT, 1)
        key = _key_of(entry)
        line = self._lines.get(key)
        if line is None:
            self._open_line(key, SortedKeyList([entry], key=_age_of))
            return
        head, lane = line[0], self._lane_at(key)
        line.add(entry)
        self._sizes[lane][key.priority] += 1
        if line[0] is entry:
            self._take_head(lane, key, head)
            self._lead(key, line, lane)

    def _open_line(self, key: QueueKey, line: SortedKeyList[Entry]) -> None:
        self._lines[key] = line
        self._keys.setdefault(key.route, set()).add(key)
        if key.tenant is not None:
            self._keys_of_tenant.setdefault(key.tenant, set()).add(key)
        if key.route not in self._lanes:
            lane = self._lanes[key.route] = self._lane_of(key.route, 0.0)
            if not lane:
                self._stuck.append(key.route)
        self._enter_lane(key, line)

    def _enter_lane(self, key: QueueKey, line: SortedKeyList[Entry]) -> None:
        lane = self._lanes[key.route]
        self._add_to(lane, key, len(line))
        self._lead(key, line, lane)

    def _add_to(self, lane: Lane, key: QueueKey, count: int) -> None:
        if lane not in self._heads:
            self._heads[lane], self._sizes[lane] = SortedList(), Counter()
        self._sizes[lane][key.priority] += count

    def _drop_if_empty(self, lane: Lane) -> None:
        if not self._heads[lane] and not any(self._sizes[lane].values()):
            del self._heads[lane], self._sizes[lane]

    def _put_head(self, lane: Lane, key: QueueKey, head: Entry) -> None:
        if key.tenant not in self._held:
            self._heads[lane].add((self.order(head), key))

    def _take_head(self, lane: Lane, key: QueueKey, head: Entry) -> None:
        if key.tenant not in self._held:
            self._heads[lane].remove((self.order(head), key))

    def _lead(self, key: QueueKey, line: SortedKeyList[Entry], lane: Lane) -> None:
        """Make its first entry the head of a queue of a lane, in which it has none."""
        head = line[0]
        if lane.later or lane.waited:
            lane = self._change_lane(key, line, lane)
        self._put_head(lane, key, head)
        heapq.heappush(self._ages, (head.queued_at, head.id, key))
        if len(self._ages) > 2 * len(self._lines) + 1000:
            self._ages = [(line[0].queued_at, line[0].id, key) for key, line in self._lines.items()]
            heapq.heapify(self._ages)

    def _close_line(self, key: QueueKey, lane: Lane) -> None:
        del self._lines[key]
        self._widened.pop(key, None)
        self._keys[key.route].remove(key)
        if not self._keys[key.route]:
            del self._keys[key.route], self._lanes[key.route]
        if key.tenant is not None:
            self._keys_of_tenant[key.tenant].remove(key)
            if not self._keys_of_tenant[key.tenant]:
                del self._keys_of_tenant[key.tenant]
        self._drop_if_empty(lane)

    def hold(self, tenant: str, is_held: bool) -> None:
        """Offer nothing of a tenant to dispatch, or (False) offer it again. O(its queues)."""
        if is_held is (tenant in self._held):
            return
        self._held.discard(tenant)
        for key in self._keys_of_tenant.get(tenant, ()):
            lane, head = self._lane_at(key), self._lines[key][0]
            if is_held:
                self._take_head(lane, key, head)
            else:
                self._put_head(lane, key, head)
        if is_held:
            self._held.add(tenant)

    def regroup(self) -> None:
        """Recompute the lane of each route after the backends' models have changed."""
        self._lanes = {route: self._lane_of(route, 0.0) for route in self._lanes}
        self._stuck = [route for route, lane in self._lanes.items() if not lane]
        self._heads, self._sizes, self._widened, self._steps = {}, {}, {}, []
        for key, line in self._lines.items():
            self._enter_lane(key, line)

    # --- waiting for more backends --------------------------------------------------------------

    def start_waits(self, now: float) -> None:
        """Count waits for more backends from now on, as the queue has just begun to dispatch."""
        self._now = self._waits_from = now
        self.regroup()

    def widen(self, now: float) -> None:
        """Put queues into wider lanes whose heads have waited for more backends."""
        self._now = now
        while self._steps and self._steps[0][0] <= now:
            _, key = heapq.heappop(self._steps)
            line = self._lines.get(key)
            if line is None:
                continue
            lane = self._lane_at(key)
            if self._waiting_since(line[0]) + lane.next_at <= now:  # else it has another head now
                self._take_head(lane, key, line[0])
                self._lead(key, line, lane)

    def _change_lane(self, key: QueueKey, line: SortedKeyList[Entry], lane: Lane) -> Lane:
        """Move a queue to the lane that its head has waited for, if that is another."""
        since = self._waiting_since(line[0])
        old, lane = lane, self._lanes[key.route]
        if lane and since + lane.next_at <= self._now:
            lane = self._lane_of(key.route, self._now - since + ROUNDING_S)
        if lane != old:
            self._sizes[old][key.priority] -= len(line)
            self._drop_if_empty(old)
            self._add_to(lane, key, len(line))
        self._widened.pop(key, None)
        if lane.waited:
            self._widened[key] = lane
        if lane and lane.next_at < inf:
            self._plan_step(since + lane.next_at, key)
        return lane

    def _plan_step(self, at: float, key: QueueKey) -> None:
        heapq.heappush(self._steps, (at, key))
        if len(self._steps) > 2 * len(self._lines) + 1000:
            current = ((key, line, self._lane_at(key)) for key, line in self._lines.items())
            self._steps = [
                (self._waiting_since(line[0]) + lane.next_at, key)
                for key, line, lane in current
                if lane and lane.next_at < inf
            ]
            heapq.heapify(self._steps)

    def _waiting_since(self, entry: Entry) -> float:
        return max(entry.queued_at, self._waits_from)

    def _lane_at(self, key: QueueKey) -> Lane:
        """The lane of a queue."""
        if self._widened and key in self._widened:
            return self._widened[key]
        return self._lanes[key.route]

    # --- looking --------------------------------------------------------------------------------

    def order(self, entry: Entry) -> SortKey:
        return (self._rank(entry), entry.queued_at, entry.id)

    @property
    def lanes(self) -> Iterable[Lane]:
        """The lanes with waiting entries; the empty lane is for models that no backend has."""
        return self._heads.keys()

    @property
    def offered(self) -> list[Lane]:
        """The lanes of which something may start, if a backend takes it."""
        if not self._held:
            return list(self._heads)
        return [lane for lane, heads in self._heads.items() if heads]

    def of_tenant(self, tenant: str) -> Mapping[WaitingFor, int]:
        """How many entries of a tenant wait, by reason."""
        return self._of_tenant.get(tenant, {})

    def lines_of(self, tenant: str) -> Iterator[tuple[Entry, int, Lane]]:
        """The queues of a tenant: the oldest entry, the length and the lane of each."""
        for key in self._keys_of_tenant.get(tenant, ()):
            line = self._lines[key]
            yield line[0], len(line), self._lane_at(key)

    @property
    def routes(self) -> Mapping[str, Lane]:
        """The routes with due entries, and the lane of each."""
        return self._lanes

    def newly_stuck(self) -> list[str]:
        """Routes whose model no backend has, each returned once (and again after a `regroup`)."""
        stuck, self._stuck = self._stuck, []
        return stuck

    def is_stuck(self, route: str) -> bool:
        """Whether the route has waiting entries and no backend has its model."""
        lane = self._lanes.get(route)
        return lane is not None and not lane

    def lane(self, entry: Entry) -> Lane:
        """The backends that can run an entry now, or would if it were the head of its queue."""
        key = _key_of(entry)
        if key in self._lines:
            return self._lane_at(key)
        lane = self._lanes.get(entry.route)
        return self._lane_of(entry.route, 0.0) if lane is None else lane

    def first(self, lanes: Iterable[Lane]) -> Entry:
        """The first entry in order in these lanes, of which there must be at least one."""
        _, key = min(self._heads[lane][0] for lane in lanes)
        entry: Entry = self._lines[key][0]
        return entry

    def level(self, lanes: Iterable[Lane]) -> Iterator[Entry]:
        """The heads of these lanes in order, up to one level after the first."""
        last = None
        for order, key in heapq.merge(*(self._heads[lane] for lane in lanes)):
            last = order[0] + 1 if last is None else last
            if order[0] >= last:
                return
            yield self._lines[key][0]

    def oldest_of(self, route: str) -> Entry:
        """The entry of a route that has waited longest."""
        heads: list[Entry] = [self._lines[key][0] for key in self._keys[route]]
        return min(heads, key=_age_of)

    @property
    def oldest(self) -> float | None:
        """When the longest waiting due entry was queued; None if none is due."""
        while self._ages:
            queued_at, task_id, key = self._ages[0]
            line = self._lines.get(key)
            if line is not None and line[0].id == task_id:
                return queued_at
            heapq.heappop(self._ages)
        return None

    def position(self, entry: Entry) -> int | None:
        """How many entries of its route are ahead of it by priority and age; None if not due."""
        if entry.due > 0:
            return None
        before = 0
        for key in self._keys[entry.route]:
            if key.priority > entry.priority:
                before += len(self._lines[key])
            elif key.priority == entry.priority:
                before += self._lines[key].bisect_key_left(_age_of(entry))
        return before

    def older_than(self, entry: Entry, key: QueueKey) -> int:
        """How many entries of a queue are older than this one."""
        place: int = self._lines[key].bisect_key_left(_age_of(entry))
        return place

    def sizes(self, lane: Lane) -> Mapping[int, int]:
        """The number of due entries in a lane, by priority."""
        return self._sizes.get(lane, {})

    def lengths(self, lane: Lane, most: int) -> Iterator[tuple[QueueKey, int]]:
        """The length of each queue of a lane; a sample if there are more than `most`."""
        heads = self._heads.get(lane, ())
        for place in range(0, len(heads), len(heads) // (most + 1) + 1):
            _, key = heads[place]
            yield key, len(self._lines[key])

    def reason(self, entry: Entry) -> WaitingFor:
        """Why an entry waits, apart from backends and pauses."""
        return _reason(entry) if entry.due > 0 else WaitingFor.SLOT

    @property
    def reasons(self) -> dict[WaitingFor, int]:
        """The number of waiting entries by reason."""
        return {reason: count for reason, count in self._reasons.items() if count}

    @property
    def next_due(self) -> float | None:
        due = self._later[0].due if self._later else None
        if self._steps and (due is None or self._steps[0][0] < due):
            return self._steps[0][0]
        return due


def _come(entry: Entry) -> None:
    """Mark an entry as due. Keeps its scheduled time, as the clock may be set back."""
    entry.due = 0.0 if entry.attempt or not entry.due else -abs(entry.due)


def _reason(entry: Entry) -> WaitingFor:
    """Why an entry that is not due waits: only a task that ran before waits for a retry."""
    return WaitingFor.RETRY if entry.attempt else WaitingFor.SCHEDULE
