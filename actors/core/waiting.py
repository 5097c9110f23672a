"""What waits: one ordered queue per route key, and what is not due yet."""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct
from sortedcontainers import SortedKeyList, SortedList

from ollama_queue.actors.core.records import Record, WaitingFor

Order = tuple[int, float, str]


class Entry(Struct, gc=False, array_like=True, omit_defaults=False):
    """What the plan knows of a task that waits or runs; also the value of its status index.

    Instants are seconds since 1970. `due` is 0 for a task that may run now.
    """

    id: str
    route: str
    priority: int
    queued_at: float
    due: float
    attempt: int
    retry_count: int
    max_retries: int
    interruptions: int
    size: int
    timeout_s: float | None
    key: bytes | None
    words: str
    cron_id: str | None = None

    @property
    def order(self) -> Order:
        """Higher priority first, FIFO inside a level; ids sort by arrival."""
        return (-self.priority, self.queued_at, self.id)


def entry_of(record: Record) -> Entry:
    """A task's entry, from its record."""
    due = record.next_attempt_at or (None if record.attempt else record.scheduled_at)
    return Entry(
        id=record.id,
        route=record.route,
        priority=record.priority,
        queued_at=record.queued_at.timestamp(),
        due=due.timestamp() if due else 0.0,
        attempt=record.attempt,
        retry_count=record.retry_count,
        max_retries=record.max_retries,
        interruptions=record.interruptions,
        size=record.size,
        timeout_s=record.timeout_s,
        key=record.key,
        words=record.words,
        cron_id=record.cron_id,
    )


class Entries(dict[str, Entry]):
    """The tasks that wait or run, by id, and how many of them are of which cron."""

    def __init__(self) -> None:
        super().__init__()
        self._of_cron: Counter[str] = Counter()

    def __setitem__(self, task_id: str, entry: Entry) -> None:
        super().__setitem__(task_id, entry)
        if entry.cron_id is not None:
            self._of_cron[entry.cron_id] += 1

    def __delitem__(self, task_id: str) -> None:
        cron_id = self[task_id].cron_id
        super().__delitem__(task_id)
        if cron_id is not None:
            self._of_cron[cron_id] -= 1
            if not self._of_cron[cron_id]:
                del self._of_cron[cron_id]

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self[entry.id] = entry

    def of_cron(self, cron_id: str) -> int:
        return self._of_cron[cron_id]


def _order_of(entry: Entry) -> Order:
    return entry.order


def _due_of(entry: Entry) -> tuple[float, str]:
    return (entry.due, entry.id)


class WaitingRoom:
    """All waiting entries. Every step is O(log n), whatever the number of routes and tasks."""

    def __init__(self) -> None:
        self._routes: dict[str, SortedKeyList[Entry]] = {}
        self._heads: SortedList[tuple[Order, str]] = SortedList()
        self._later: SortedKeyList[Entry] = SortedKeyList(key=_due_of)
        self._reasons: Counter[WaitingFor] = Counter()
        self.bytes = 0

    def __len__(self) -> int:
        return self._reasons.total()

    def add(self, entry: Entry, now: float) -> None:
        """Put an entry in its place."""
        self.bytes += entry.size
        if entry.due > now:
            self._later.add(entry)
            self._reasons[_reason(entry)] += 1
        else:
            entry.due = 0.0
            self._enqueue(entry)

    def fill(self, entries: Iterable[Entry], now: float) -> None:
        """Take in many at once, as a boot does: sorted together, not one by one."""
        ready: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.due > now:
                self.add(entry, now)
            else:
                entry.due = 0.0
                self.bytes += entry.size
                ready.setdefault(entry.route, []).append(entry)
        for route, queue in ready.items():
            self._reasons[WaitingFor.SLOT] += len(queue)
            self._routes[route] = SortedKeyList(queue, key=_order_of)
            self._heads.add((self._routes[route][0].order, route))

    def remove(self, entry: Entry) -> None:
        """Take an entry out, wherever it waits."""
        self.bytes -= entry.size
        if entry.due:
            self._later.remove(entry)
            self._reasons[_reason(entry)] -= 1
            return
        self._reasons[WaitingFor.SLOT] -= 1
        queue = self._routes[entry.route]
        was_head = queue[0] is entry
        queue.remove(entry)
        if was_head:
            self._heads.remove((entry.order, entry.route))
            if queue:
                self._heads.add((queue[0].order, entry.route))
            else:
                del self._routes[entry.route]

    def ripen(self, now: float) -> None:
        """Let those whose time has come into their queues."""
        while self._later and self._later[0].due <= now:
            entry = self._later.pop(0)
            self._reasons[_reason(entry)] -= 1
            entry.due = 0.0
            self._enqueue(entry)

    def heads(self) -> Iterator[Entry]:
        """The first entry of each route, in the order in which they should run."""
        for _, route in self._heads:
            yield self._routes[route][0]

    def position(self, entry: Entry) -> int | None:
        """How many entries of its route run before this one; None while it is not due."""
        if entry.due:
            return None
        return int(self._routes[entry.route].bisect_key_left(entry.order))

    def reason(self, entry: Entry) -> WaitingFor:
        """Why an entry waits, as far as it is its own doing."""
        return _reason(entry) if entry.due else WaitingFor.SLOT

    @property
    def reasons(self) -> dict[WaitingFor, int]:
        """How many entries wait for what."""
        return {reason: count for reason, count in self._reasons.items() if count}

    @property
    def next_due(self) -> float | None:
        return self._later[0].due if self._later else None

    def _enqueue(self, entry: Entry) -> None:
        self._reasons[WaitingFor.SLOT] += 1
        queue = self._routes.get(entry.route)
        if queue is None:
            queue = self._routes[entry.route] = SortedKeyList(key=_order_of)
        head = queue[0] if queue else None
        queue.add(entry)
        if queue[0] is entry:
            if head is not None:
                self._heads.remove((head.order, entry.route))
            self._heads.add((entry.order, entry.route))


def _reason(entry: Entry) -> WaitingFor:
    """Why an entry that is not due waits: only a task that ran before waits for a retry."""
    return WaitingFor.RETRY if entry.attempt else WaitingFor.SCHEDULE
