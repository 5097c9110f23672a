"""What each event is in the log, and what becomes of events that come too fast."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.event_names import EVENTS
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.tasks import Attempt, Record, Status, TaskType
from ollama_queue.actors.task_log import (
    BURST,
    LINES_PER_S,
    LOGGED,
    MAX_ERROR,
    EventSummary,
    LossyMailbox,
    TaskLogWriter,
    follow,
    line_of,
)
from tests.support.recorders import PATIENCE_S, START

LOG = logging.getLogger("ollama_queue")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def call(attempt: int, since: float, until: float, error: str | None = None) -> Attempt:
    return Attempt(
        attempt=attempt, backend="b", started_at=at(since), ended_at=at(until), error=error
    )


def event(name: str, **facts: Any) -> EventRecord:
    plain = {"id": "t1", "type": TaskType.CHAT, "model": "m:1", "priority": 5, "max_retries": 3}
    plain |= {"created_at": START, "queued_at": START, "title": "hush, a payload"}
    return EventRecord(name, Record(**plain, **facts), START, 7)


RUN = {"attempt": 1, "started_at": at(2), "executed_on": "b"}
FAILED = {**RUN, "error": "no such model", "attempts": [call(1, 2, 3.5, "no such model")]}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("task_submitted"), "task t1 submitted model=m:1 priority=5"),
        (
            event("task_started", status=Status.RUNNING, **RUN),
            "task t1 started model=m:1 priority=5 attempt=1 backend=b wait_s=2.0",
        ),
        (
            event(
                "task_started",
                status=Status.RUNNING,
                attempt=2,
                started_at=at(9.25),
                executed_on="b",
                error="cut",
                attempts=[call(1, 2, 3, "cut")],
            ),
            "task t1 started model=m:1 priority=5 attempt=2 backend=b wait_s=6.25",
        ),
        (
            event(
                "task_completed",
                status=Status.COMPLETED,
                completed_at=at(4),
                attempts=[call(1, 2, 4)],
                **RUN,
            ),
            "task t1 completed model=m:1 priority=5 attempt=1 backend=b run_s=2.0",
        ),
        (
            event("task_failed", status=Status.FAILED, completed_at=at(3.5), **FAILED),
            "task t1 failed model=m:1 priority=5 attempt=1 backend=b run_s=1.5 "
            'error="no such model"',
        ),
        (
            event("task_retrying", **FAILED),
            "task t1 retrying model=m:1 priority=5 attempt=1 backend=b run_s=1.5 "
            'error="no such model"',
        ),
        (
            event("task_cancelled", status=Status.CANCELLED, completed_at=at(5), **RUN),
            "task t1 cancelled model=m:1 priority=5 attempt=1 backend=b run_s=3.0",
        ),
        (
            event("task_cancelled", status=Status.CANCELLED, completed_at=at(5), **FAILED),
            "task t1 cancelled model=m:1 priority=5 attempt=1 backend=b",
        ),
        (
            event("task_cancelled", status=Status.CANCELLED, completed_at=at(5)),
            "task t1 cancelled model=m:1 priority=5",
        ),
        (event("priority_updated"), "task t1 priority updated model=m:1 priority=5"),
        (
            event("task_deleted", status=Status.FAILED, completed_at=at(3.5), **FAILED),
            "task t1 deleted model=m:1 priority=5 attempt=1 backend=b",
        ),
        (EventRecord("queue_paused", None, START, 7), "queue paused"),
        (EventRecord("cron_changed", None, START, 7, "c1"), "cron c1 changed"),
        (
            EventRecord("cron_skipped", None, START, 7, "c1", "the queue is full"),
            'cron c1 skipped reason="the queue is full"',
        ),
        (
            EventRecord("cron_fired", event("task_submitted").task, START, 7, "c1"),
            "cron c1 fired task_id=t1",
        ),
    ],
)
def test_an_event_is_one_line(told: EventRecord, line: str) -> None:
    assert str(line_of(told)) == line
    assert line_of(told).names["event"] == told.event


def test_a_line_names_what_it_is_about() -> None:
    assert line_of(event("task_submitted")).names == {"event": "task_submitted", "task_id": "t1"}
    fired = line_of(EventRecord("cron_fired", None, START, 7, "c1"))
    assert fired.names == {"event": "cron_fired", "cron_id": "c1"}


def test_long_words_of_a_server_are_cut() -> None:
    told = event("task_failed", status=Status.FAILED, error="x" * 10_000)
    assert line_of(told).facts["error"] == "x" * MAX_ERROR


# --- the inbox ------------------------------------------------------------------------------------


def test_an_inbox_counts_what_it_has_no_room_for() -> None:
    inbox = LossyMailbox(2)
    sent = [event("task_submitted") for _ in range(5)]

    assert all(inbox.put(each) for each in sent)
    assert inbox.next() == (sent[:2], 3)
    inbox.put(sent[4])
    assert inbox.next() == (sent[4:], 0)
    inbox.close("shutdown")
    assert not inbox.put(sent[0])
    with pytest.raises(Closed, match="shutdown"):
        inbox.next()


# --- the journal ----------------------------------------------------------------------------------


class Told(logging.Handler):
    """What the log was told; a test may hold it up."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.Queue[str] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.wait(PATIENCE_S)
        self.lines.put(f"{record.levelname}: {record.getMessage()}")

    def next(self) -> str:
        return self.lines.get(timeout=PATIENCE_S)


@pytest.fixture
def told() -> Iterator[Told]:
    handler, level = Told(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield handler
    LOG.removeHandler(handler)
    LOG.setLevel(level)


class Bus:
    """Keeps the mailboxes that were put in force."""

    def __init__(self) -> None:
        self.boxes: queue.Queue[Mailbox[Any]] = queue.Queue()
        self.wanted: list[frozenset[str]] = []
        self.left = 0
        self.is_gone = False

    def listen(self, mailbox: Mailbox[Any], events: frozenset[str]) -> Callable[[], None]:
        if self.is_gone:
            raise Unavailable("it is gone")
        self.boxes.put(mailbox)
        self.wanted.append(events)
        return self.leave

    def leave(self) -> None:
        self.left += 1

    def next(self) -> Mailbox[Any]:
        return self.boxes.get(timeout=PATIENCE_S)


def test_all_events_are_logged_but_the_one_that_its_actor_tells_of() -> None:
    assert {"backend_changed"} == EVENTS - LOGGED


def test_what_has_come_is_written_before_it_is_closed(told: Told) -> None:
    bus = Bus()
    journal = TaskLogWriter(bus.listen, 1)
    inbox = bus.next()
    for _ in range(250):
        inbox.put(event("task_submitted"))
    journal.close()

    assert told.lines.qsize() == 250
    assert not journal.is_alive()
    assert (bus.left, bus.wanted) == (1, [LOGGED])


def test_what_came_at_once_may_be_one_record(told: Told) -> None:
    bus = Bus()
    told.gate.clear()
    journal = TaskLogWriter(bus.listen, 3)
    inbox = bus.next()
    for _ in range(20):
        inbox.put(event("task_deleted"))
    told.gate.set()
    journal.close()

    records = [told.lines.get_nowait() for _ in range(told.lines.qsize())]
    lines = "\n".join(records).replace("INFO: ", "").splitlines()
    assert lines == ["task t1 deleted model=m:1 priority=5"] * 20
    assert len(records) < 20
    assert max(record.count("\n") for record in records) == 2


def test_events_that_come_while_others_gather_are_written_with_them(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, naps, more = Bus(), queue.Queue[float](), threading.Event()

    def nap(seconds: float) -> None:
        naps.put(seconds)
        more.wait(PATIENCE_S)

    clock = SimpleNamespace(sleep=nap, monotonic=time.monotonic)
    monkeypatch.setattr("ollama_queue.actors.task_log.time", clock)
    journal = TaskLogWriter(bus.listen, 10, gather_s=0.5)
    inbox = bus.next()
    inbox.put(event("task_submitted"))
    assert naps.get(timeout=PATIENCE_S) == 0.5
    inbox.put(event("task_deleted"))
    more.set()

    assert told.next() == (
        "INFO: task t1 submitted model=m:1 priority=5\ntask t1 deleted model=m:1 priority=5"
    )
    journal.close()


def test_beyond_a_burst_events_share_a_line(told: Told) -> None:
    bus, now = Bus(), [0.0]
    journal = TaskLogWriter(bus.listen, 1000, summary=EventSummary(lambda: now[0]))
    inbox = bus.next()
    for _ in range(1000):
        inbox.put(event("task_submitted"))
    for _ in range(BURST):
        inbox.put(event("task_failed", status=Status.FAILED, **FAILED))
    journal.close()

    records = [told.lines.get_nowait() for _ in range(told.lines.qsize())]
    lines = "\n".join(records).replace("INFO: ", "").splitlines()
    assert sum(" submitted " in line for line in lines) == BURST
    assert sum(" failed " in line for line in lines) == BURST
    assert lines[-1] == f"{1000 - BURST} more events in 0 s: {1000 - BURST} task submitted"
    assert len(lines) == 2 * BURST + 1


def test_over_time_so_many_events_have_a_line_each() -> None:
    now = [0.0]
    summary = EventSummary(lambda: now[0])
    written = summed = 0
    for _ in range(100):
        now[0] += 1.0
        for _ in range(1000):
            written += not summary.takes(event("task_submitted"))
        summed += summary.due(is_last=False) is not None

    assert written == pytest.approx(BURST + 99 * LINES_PER_S, abs=LINES_PER_S)
    assert summed == 9
    assert summary and summary.due(is_last=True) and not summary


def test_it_goes_on_after_a_restart_and_ends_with_a_shutdown(told: Told) -> None:
    bus = Bus()
    journal = TaskLogWriter(bus.listen, 1)
    first = bus.next()
    first.put(event("task_submitted"))
    first.close("restarted")
    second = bus.next()
    second.put(event("task_deleted"))
    second.close("shutdown")
    journal.join(PATIENCE_S)

    assert not journal.is_alive()
    assert told.next() == "INFO: task t1 submitted model=m:1 priority=5"
    assert told.next() == "INFO: task t1 deleted model=m:1 priority=5"


def test_it_says_when_it_hears_no_more(told: Told) -> None:
    bus = Bus()
    journal = TaskLogWriter(bus.listen, 1)
    bus.is_gone = True
    bus.next().close("restarted")
    journal.join(PATIENCE_S)

    assert told.next() == "ERROR: the log no longer follows tasks: it is gone"


def test_it_says_how_many_events_it_missed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_queue.actors.task_log.INBOX_SIZE", 3)
    bus = Bus()
    told.gate.clear()
    journal = TaskLogWriter(bus.listen, 1)
    inbox = bus.next()
    for _ in range(20):
        assert inbox.put(event("task_submitted"))
    told.gate.set()
    journal.close()

    lines = [told.lines.get_nowait() for _ in range(told.lines.qsize())]
    missed = [line for line in lines if line.startswith("WARNING")]
    assert len(missed) == 1
    written = len(lines) - 1
    assert missed == [f"WARNING: the log could not keep up: {20 - written} events are missing"]


def test_where_the_log_does_not_want_to_know_nothing_listens(told: Told) -> None:
    LOG.setLevel(logging.WARNING)
    assert follow(Bus().listen, 1) is None
