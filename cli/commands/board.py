"""The state that `watch` shows: counts, running tasks, speeds."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...actors.core.model.stats import QueueStats
    from ...actors.core.model.tasks import Task

MINUTE_S = 60.0
SPAN_S = 5.0  # that a rate of chunks is taken over
SETTLE_S = 0.3  # at the start of a stream, while what was said before comes
QUIET_S = 3.0  # without an answer: it is said
NEWS_S = 10.0  # for which it is said that the queue is back


class Meter:
    """Counts the chunks of one reply, in total and per second. Instants are in seconds."""

    def __init__(self, now: float) -> None:
        self.total = 0
        self._since = now + SETTLE_S
        self._times: deque[float] = deque(maxlen=10_000)

    def note(self, now: float) -> None:
        self.total += 1
        self._times.append(now)

    def rate(self, now: float) -> float | None:
        """Chunks per second; None while it is too early to tell."""
        since = max(self._since, now - SPAN_S)
        if now - since < 1.0:
            return None
        return sum(since < each <= now for each in self._times) / (now - since)


class Board:
    """What to draw. `server` names the queue; instants are monotonic seconds."""

    def __init__(self, server: str, now: float) -> None:
        self.server = server
        self.stats: QueueStats | None = None
        self.running: Sequence[Task] = ()
        self.meters: dict[str, Meter] = {}
        self._began_at = self._seen_at = now
        self._ends: deque[tuple[float, str]] = deque(maxlen=100_000)
        self._trouble: str | None = None
        self._news: tuple[float, str] | None = None

    def saw(self, stats: "QueueStats", running: "Sequence[Task]", now: float) -> None:
        """Take in the current stats."""
        if self._trouble is not None:
            self._news = (now, f"the queue is back after {now - self._seen_at:.0f} s")
        elif self.stats is not None and stats.uptime_s < self.stats.uptime_s:
            self._news = (now, "the queue has restarted")
        self.stats, self.running, self._seen_at, self._trouble = stats, running, now, None
        live = {task.id for task in running}
        for gone in set(self.meters) - live:
            del self.meters[gone]

    def lost(self, trouble: str) -> None:
        """Note that the queue is unreachable."""
        self._trouble = trouble

    def ended(self, event: str, now: float) -> None:
        """Count an ended task: `task_completed`, `task_failed` or `task_cancelled`."""
        self._ends.append((now, event.removeprefix("task_")))

    def warning(self, now: float) -> str | None:
        """The reason why the shown state may be stale."""
        away = now - self._seen_at
        if self._trouble is not None:
            return f"{self._trouble}; trying again, for {away:.0f} s now"
        return f"no answer for {away:.0f} s" if away > QUIET_S else None

    def news(self, now: float) -> str | None:
        if self._news is None or now - self._news[0] > NEWS_S:
            return None
        return self._news[1]

    def last_minute(self, now: float) -> Counter[str]:
        """Number of ended tasks by outcome."""
        while self._ends and self._ends[0][0] <= now - MINUTE_S:
            self._ends.popleft()
        return Counter(how for _, how in tuple(self._ends))

    def watched_s(self, now: float) -> float:
        """The period that `last_minute` covers, shorter at the beginning."""
        return min(now - self._began_at, MINUTE_S)
