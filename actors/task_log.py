"""Logs the life of each task: one line per event, as a subscriber of the event bus."""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from .base.cooperation import YieldControl, never_yield
from .base.mailbox import Closed, Mailbox
from .core.access.meters import TokenBucket
from .core.config.config import LoggingSettings
from .core.model.errors import Unavailable
from .core.model.event_names import ENDS, EVENTS
from .core.model.events import EventRecord
from .core.model.tasks import Record
from .logs import LogLine, LogLines, open_handler

log = logging.getLogger("ollama_queue")

ListenToEvents = Callable[[Mailbox[Any], frozenset[str]], Callable[[], None]]

LOGGED = EVENTS - {"backend_changed"}  # the Prober logs that
CALL_ENDS = ENDS | {"task_retrying"}
_SUBJECT = re.compile("^(task|queue|cron)_")
_HAPPENINGS = {name: _SUBJECT.sub("", name).replace("_", " ") for name in EVENTS}
MISHAPS = {"task_failed", "task_retrying"}
INBOX_SIZE = 100_000
CLOSE_PATIENCE_S = 10.0
LINES_PER_S = 20.0  # of events, on average, where nobody rotates the log
BURST = 200
SUMMED_S = 10.0  # how often the others are summed up
MAX_ERROR = 500  # characters of an upstream error


def line_of(event: EventRecord) -> LogLine:
    """The log line of an event: ids and known facts, without payload, title or secrets."""
    name, task = event.event, event.task
    facts: dict[str, Any] = {}
    names: dict[str, Any] = {"event": name}
    if name.startswith("cron_"):
        subject = f"cron {event.cron_id}"
        names["cron_id"] = event.cron_id
        facts = {} if task is None else {"task_id": task.id}
    elif task is None:
        subject = "queue"
    else:
        subject = f"task {task.id}"
        names["task_id"] = task.id
        facts = _task_facts(name, task)
    if event.reason is not None:
        facts["reason"] = event.reason
    return LogLine(f"{subject} {_HAPPENINGS[name]}", names, facts)


def _task_facts(name: str, task: Record) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": task.model, "priority": task.priority}
    if task.attempt:
        facts["attempt"] = task.attempt
    if task.executed_on is not None:
        facts["backend"] = task.executed_on
    span = _waited_s(task) if name == "task_started" else None
    if span is not None:
        facts["wait_s"] = span
    span = _ran_s(task) if name in CALL_ENDS else None
    if span is not None:
        facts["run_s"] = span
    if name in MISHAPS:
        facts["error"] = (task.error or "")[:MAX_ERROR]
    return facts


def _waited_s(task: Record) -> float | None:
    """The wait since the task could have run, or since its last attempt ended."""
    if task.started_at is None:
        return None
    since = task.queued_at
    if task.attempts and task.attempts[-1].ended_at > since:
        since = task.attempts[-1].ended_at
    return _span(since, task.started_at)


def _span(since: datetime, until: datetime) -> float:
    """The duration in seconds; 0 if the clock was set back in between."""
    return max(round((until - since).total_seconds(), 3), 0.0)


def _ran_s(task: Record) -> float | None:
    """The duration of the call that ended; None if there was none."""
    last = task.attempts[-1] if task.attempts else None
    if last is not None and last.attempt == task.attempt:
        if task.completed_at not in (None, last.ended_at):
            return None  # that call ended earlier: the task was waiting
        return _span(last.started_at, last.ended_at)
    if task.started_at is None or task.completed_at is None:
        return None
    return _span(task.started_at, task.completed_at)


class LossyMailbox(Mailbox[EventRecord]):
    """A mailbox that is never closed as lagged: it counts the events it has no space for."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._missed = 0

    def put(self, item: EventRecord) -> bool:
        return self.put_all((item,))

    def put_all(self, items: Collection[EventRecord]) -> bool:
        with self._lock:
            space = self._size - len(self._items)
            if self._reason is None and len(items) > space:
                self._missed += len(items) - space
                items = list(items)[:space]
        return super().put_all(items)

    def next(
        self, timeout: float | None = None, gather_s: float = 0.0
    ) -> tuple[list[EventRecord], int]:
        """The next events, and the number missed after them; none after `timeout` seconds. More
        may gather for `gather_s`. Raises `Closed`."""
        try:
            events = list(self.take(timeout))
        except TimeoutError:
            events = []
        if events and gather_s and self.reason is None:
            time.sleep(gather_s)
            events += self.drain()
        with self._lock:
            missed, self._missed = self._missed, 0
        return events, missed


class TaskLogWriter(threading.Thread):
    """Writes events to the log, in a thread of its own. Subscribes again after a reboot.

    Up to `together` events that arrive at once become one record. Our own formatters still give
    each a line, at a fraction of the cost; formatters of other programs expect a line per record.
    Events gather for `gather_s` seconds: whoever waits for the first of them goes on before.
    """

    def __init__(
        self,
        listen: ListenToEvents,
        together: int,
        yield_control: YieldControl = never_yield,
        summary: "EventSummary | None" = None,
        gather_s: float = 0.0,
    ) -> None:
        super().__init__(name="ollama-queue-journal", daemon=True)
        self._summary, self._gather_s = summary, gather_s
        self._listen, self._together, self._yield_control = listen, together, yield_control
        self._is_closed = False
        self._begin()
        self.start()

    def _begin(self) -> None:
        self._inbox = LossyMailbox(INBOX_SIZE)
        self._leave = self._listen(self._inbox, LOGGED)

    def run(self) -> None:
        while True:
            try:
                while True:
                    summary = self._summary
                    waits = summary is not None and bool(summary)
                    timeout = SUMMED_S if waits else None
                    self._write(*self._inbox.next(timeout, self._gather_s))
            except Closed as closed:
                self._sum_up(is_last=True)
                if self._is_closed or closed.message != "restarted":
                    return
            try:
                self._begin()
            except Unavailable as error:
                if not self._is_closed:
                    log.error("the log no longer follows tasks: %s", error.message)
                return
            if self._is_closed:
                self._hang_up()

    def _write(self, events: list[EventRecord], missed: int) -> None:
        if self._summary is not None:
            events = [event for event in events if not self._summary.takes(event)]
            self._sum_up()
        for start in range(0, len(events), self._together):
            if log.isEnabledFor(logging.INFO):
                log.info(LogLines([*map(line_of, events[start : start + self._together])]))
            self._yield_control()
        if missed:
            log.warning("the log could not keep up: %d events are missing", missed)

    def _sum_up(self, *, is_last: bool = False) -> None:
        line = None if self._summary is None else self._summary.due(is_last=is_last)
        if line is not None:
            log.info(line)

    def close(self) -> None:
        """Close once everything received so far is written, or after 10 s."""
        self._is_closed = True
        self._hang_up()
        self.join(CLOSE_PATIENCE_S)

    def _hang_up(self) -> None:
        self._leave()
        self._inbox.close("unsubscribed")


def follow(
    listen: ListenToEvents,
    together: int,
    yield_control: YieldControl = never_yield,
    summary: "EventSummary | None" = None,
    gather_s: float = 0.0,
) -> TaskLogWriter | None:
    """Start a log of the events of `listen`; None if the log level excludes them. `summary` takes
    those that are not to have a line each."""
    if not log.isEnabledFor(logging.INFO):
        return None
    return TaskLogWriter(listen, together, yield_control, summary, gather_s)


class EventSummary:
    """Counts the events beyond what a log without an end can bear: they share a line.

    Bursts of `BURST` events have a line each, and `LINES_PER_S` over time; so do as many failures
    besides.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usual = self._bucket()
        self._mishaps = self._bucket()
        self._counts: Counter[str] = Counter()
        self._since = 0.0

    def _bucket(self) -> TokenBucket:
        return TokenBucket(BURST, BURST / LINES_PER_S, self._clock())

    def __bool__(self) -> bool:
        """Whether it has counted events that were not logged."""
        return bool(self._counts)

    def takes(self, event: EventRecord) -> bool:
        """Whether the event is only counted."""
        now = self._clock()
        bucket = self._mishaps if event.event in MISHAPS else self._usual
        if not bucket.take(now):
            return False
        if not self._counts:
            self._since = now
        self._counts[event.event] += 1
        return True

    def due(self, *, is_last: bool) -> str | None:
        """The line with the counts, once a while."""
        span = self._clock() - self._since
        if not self._counts or (span < SUMMED_S and not is_last):
            return None
        parts = [f"{count} {name.replace('_', ' ')}" for name, count in self._counts.most_common()]
        total = self._counts.total()
        self._counts.clear()
        return f"{total} more events in {span:.0f} s: {', '.join(parts)}"


class EmbeddedLog:
    """The log of one embedded queue: the `ollama_queue` logger, configured by its settings."""

    def __init__(self, settings: LoggingSettings | None) -> None:
        """With None, all logging is left to the program."""
        self._settings = settings
        self._level = log.level
        self._handler: logging.Handler | None = None
        self._journal: TaskLogWriter | None = None

    def open(self) -> None:
        """Open the log. Raises `Invalid` if its file cannot be written."""
        if self._settings is None:
            return
        if self._settings.file or not log.hasHandlers():
            self._handler = open_handler(self._settings)
            log.addHandler(self._handler)
        self._level = log.level
        log.setLevel(self._settings.level.upper())

    def follow(self, listen: ListenToEvents, yield_control: YieldControl) -> None:
        self._journal = None if self._settings is None else follow(listen, 1, yield_control)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._handler is not None:
            log.removeHandler(self._handler)
            self._handler.close()
        if self._settings is not None:
            log.setLevel(self._level)
        self._journal = self._handler = None
