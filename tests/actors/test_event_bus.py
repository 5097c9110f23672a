"""The event bus: who hears what, and what is kept for those who come late."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ollama_queue.actors import event_bus
from ollama_queue.actors.base import stream_log
from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.base.stream_log import LEAST_BYTES, STEP_BYTES, StreamLog
from ollama_queue.actors.core.messages import (
    CloseSubscriptions,
    Follow,
    GetThroughput,
    MeasureBus,
    Publish,
    StreamGrew,
    Subscribe,
    Unsubscribe,
    Wake,
)
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece, Status
from ollama_queue.actors.embedded.watch import position
from ollama_queue.actors.event_bus import KEEP_S, EventBus
from tests.support.recorders import START, a_record, task_id


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bus(clock: Clock) -> EventBus:
    return EventBus(lambda text: None, clock, clock)


def subscribe(
    bus: EventBus,
    *,
    events: Iterable[str] | None = None,
    tasks: Iterable[int] | None = None,
    size: int = 1000,
) -> Mailbox[Any]:
    mailbox = Mailbox[Any](size)
    names = None if events is None else frozenset(events)
    ids = None if tasks is None else frozenset(map(task_id, tasks))
    assert bus.handle(Subscribe(mailbox, names, ids)) is True
    return mailbox


def follow(
    bus: EventBus, number: int, size: int = 1000, events: frozenset[str] = frozenset()
) -> Mailbox[Any]:
    mailbox = Mailbox[Any](size)
    assert bus.handle(Follow(mailbox, task_id(number), events)) is True
    return mailbox


def publish(bus: EventBus, *events: tuple[str, int | None]) -> None:
    made = (
        EventRecord(name, None if number is None else a_record(number), START, seq)
        for seq, (name, number) in enumerate(events)
    )
    bus.handle(Publish(tuple(made)))


class Logs(dict[tuple[int, int], StreamLog]):
    """The logs of calls, by task and attempt."""

    def __missing__(self, key: tuple[int, int]) -> StreamLog:
        log = self[key] = StreamLog(AttemptBegun(key[1], "ollama", 0.0))
        return log


@pytest.fixture
def logs() -> Logs:
    return Logs()


def send(bus: EventBus, logs: Logs, number: int, attempt: int, *pieces: str) -> None:
    for piece in pieces:
        log = logs[number, attempt]
        if log.append(piece.encode()):
            bus.handle(StreamGrew(task_id(number), log))


def finish(bus: EventBus, number: int, status: Status = Status.COMPLETED) -> None:
    event = EventRecord("task_completed", a_record(number, status=status), START, 1)
    bus.handle(Publish((event,)))


def heard(mailbox: Mailbox[EventRecord]) -> list[tuple[str, str | None]]:
    return [(e.event, e.task.id if e.task else None) for e in mailbox.drain()]


def read(mailbox: Mailbox[Any]) -> list[tuple[str, str]]:
    pieces = [item for item in mailbox.drain() if isinstance(item, Piece)]
    return [(position(piece), piece.raw.decode()) for piece in pieces]


def why_closed(mailbox: Mailbox[Any]) -> str:
    with pytest.raises(Closed) as closed:
        mailbox.get(0)
    return closed.value.message


# --- events -------------------------------------------------------------------------------------


def test_a_subscriber_hears_what_it_asked_for(bus: EventBus) -> None:
    everything = subscribe(bus)
    ends = subscribe(bus, events=["task_failed"])
    one = subscribe(bus, tasks=[1])
    end_of_one = subscribe(bus, events=["task_failed"], tasks=[1, 3])

    publish(
        bus, ("task_started", 1), ("task_failed", 1), ("task_failed", 2), ("queue_paused", None)
    )

    assert len(heard(everything)) == 4
    assert heard(ends) == [("task_failed", task_id(1)), ("task_failed", task_id(2))]
    assert heard(one) == [("task_started", task_id(1)), ("task_failed", task_id(1))]
    assert heard(end_of_one) == [("task_failed", task_id(1))]


def test_unsubscribing_ends_it(bus: EventBus) -> None:
    mailbox, other = subscribe(bus, tasks=[1]), subscribe(bus, tasks=[1])

    bus.handle(Unsubscribe(mailbox))
    bus.handle(Unsubscribe(mailbox))  # once more does no harm
    publish(bus, ("task_started", 1))

    assert why_closed(mailbox) == "unsubscribed"
    assert len(heard(other)) == 1


def test_one_that_cannot_keep_up_is_dropped_and_the_others_are_not(bus: EventBus) -> None:
    slow, quick = subscribe(bus, size=1), subscribe(bus)

    publish(bus, ("task_started", 1), ("task_started", 2), ("task_started", 3))

    assert heard(slow) == [("task_started", task_id(1))]
    assert why_closed(slow) == "lagged"
    assert len(heard(quick)) == 3
    assert list(bus.subscribers) == [quick]


def test_a_farewell_closes_every_mailbox(bus: EventBus) -> None:
    mailboxes = [subscribe(bus), subscribe(bus, tasks=[1]), follow(bus, 1)]

    bus.handle(CloseSubscriptions("shutdown"))

    assert [why_closed(mailbox) for mailbox in mailboxes] == ["shutdown"] * 3
    assert (bus.subscribers, bus.by_task, bus.readers) == ({}, {}, {})


def test_a_bus_that_stops_says_that_all_begins_anew(bus: EventBus) -> None:
    mailbox = subscribe(bus)
    bus.on_close()

    assert why_closed(mailbox) == "restarted"


# --- streams ------------------------------------------------------------------------------------


def test_readers_get_pieces_as_they_come_and_late_ones_from_the_first(
    bus: EventBus, logs: Logs
) -> None:
    early = follow(bus, 1)
    send(bus, logs, 1, 1, "a", "b")
    late = follow(bus, 1)
    send(bus, logs, 2, 1, "of another task")
    send(bus, logs, 1, 1, "c")

    assert read(early) == read(late) == [("1.0", "a"), ("1.1", "b"), ("1.2", "c")]


def test_pieces_follow_the_beginning_of_their_attempt(bus: EventBus, logs: Logs) -> None:
    early = follow(bus, 1)
    for attempt in (1, 2):
        send(bus, logs, 1, attempt, "a")

    begun, piece = AttemptBegun(2, "ollama", 0.0), Piece(2, 0, b"a")
    assert early.drain()[2:] == follow(bus, 1).drain() == [begun, piece]


def test_a_new_attempt_replaces_the_old_and_what_the_old_still_says_is_dropped(
    bus: EventBus, logs: Logs
) -> None:
    early = follow(bus, 1)
    send(bus, logs, 1, 1, "old")
    send(bus, logs, 1, 2, "new")
    send(bus, logs, 1, 1, "too late")
    bus.handle(StreamGrew(task_id(1), logs[1, 1]))

    assert read(early) == [("1.0", "old"), ("2.0", "new")]
    assert read(follow(bus, 1)) == [("2.0", "new")]


def test_an_attempt_that_is_heard_of_after_the_next_one_is_dropped(
    bus: EventBus, logs: Logs
) -> None:
    early = follow(bus, 1)
    logs[1, 1].append(b"old")
    send(bus, logs, 1, 2, "new")
    bus.handle(StreamGrew(task_id(1), logs[1, 1]))
    logs[1, 1].append(b"too late")

    assert read(early) == read(follow(bus, 1)) == [("2.0", "new")]


def test_all_logs_together_stay_within_bounds(
    bus: EventBus, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "ALL_LOGS_BYTES", 2 * STEP_BYTES)
    for number in range(1, 6):
        send(bus, logs, number, 1, "123456789")

    kept = [number for number in range(1, 6) if read(follow(bus, number))]
    assert (kept, bus.bytes) == ([4, 5], 2 * STEP_BYTES)


def test_short_of_memory_it_forgets_ended_streams_and_empties_running_ones(
    bus: EventBus, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a million quick tasks leave nothing to look through."""
    monkeypatch.setattr(event_bus, "ALL_LOGS_BYTES", 2 * STEP_BYTES)
    send(bus, logs, 1, 1, "still running")
    for number in range(2, 8):
        send(bus, logs, number, 1, "a")
        finish(bus, number)

    assert list(bus.streams) == [task_id(number) for number in (1, 6, 7)]
    assert list(bus.holding) == list(bus.ended) == [task_id(6), task_id(7)]


def test_a_stream_that_is_no_longer_kept_costs_the_others_nothing(
    bus: EventBus, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", LEAST_BYTES)
    monkeypatch.setattr(event_bus, "ALL_LOGS_BYTES", 2 * STEP_BYTES)
    send(bus, logs, 1, 1, "123456789")
    send(bus, logs, 2, 1, "1", "1234567890", "12345678901234567890")

    assert bus.bytes == STEP_BYTES
    assert read(follow(bus, 1)) == [("1.0", "123456789")]
    assert read(follow(bus, 2)) == []


def test_a_stream_outlives_its_end_for_a_while(bus: EventBus, logs: Logs, clock: Clock) -> None:
    send(bus, logs, 1, 1, "a")
    finish(bus, 1)
    clock.now += KEEP_S - 1
    bus.handle(Wake())
    assert read(follow(bus, 1)) == [("1.0", "a")]

    clock.now += 1
    bus.handle(Wake())

    assert read(follow(bus, 1)) == []
    assert (bus.streams, bus.ended, bus.bytes) == ({}, {}, 0)


def test_each_ended_stream_goes_in_its_turn(bus: EventBus, logs: Logs, clock: Clock) -> None:
    due: list[float] = []
    bus.wake_at = due.append  # type: ignore[method-assign, assignment]
    for number in (1, 2):
        send(bus, logs, number, 1, "a")
        finish(bus, number)
        clock.now += 10

    clock.now = 1000 + KEEP_S
    bus.handle(Wake())

    assert list(bus.streams) == [task_id(2)]
    assert due[-1] == 1000 + KEEP_S + 10


def test_a_reader_that_cannot_keep_up_is_dropped(bus: EventBus, logs: Logs) -> None:
    slow, quick = follow(bus, 1, size=2), follow(bus, 1)
    send(bus, logs, 1, 1, "a", "b", "c")

    assert read(slow) == [("1.0", "a")]
    assert why_closed(slow) == "lagged"
    assert len(read(quick)) == 3
    bus.handle(Unsubscribe(slow))
    assert list(bus.reading) == [quick]


def test_a_reader_that_leaves_gets_nothing_more(bus: EventBus, logs: Logs) -> None:
    reader = follow(bus, 1)
    send(bus, logs, 1, 1, "a")
    bus.handle(Unsubscribe(reader))
    send(bus, logs, 1, 1, "b")

    assert read(reader) == [("1.0", "a")]
    assert (bus.readers, bus.reading) == ({}, {})


def test_a_mailbox_for_both_gets_the_end_behind_the_last_piece(bus: EventBus, logs: Logs) -> None:
    mailbox = follow(bus, 1, events=frozenset({"task_completed"}))
    send(bus, logs, 1, 1, "a")
    finish(bus, 1)

    kinds: list[Callable[..., Any]] = [type(item) for item in mailbox.drain()]
    assert [kind.__name__ for kind in kinds] == ["AttemptBegun", "Piece", "EventRecord"]


# --- history ------------------------------------------------------------------------------------


def test_it_counts_what_it_publishes(bus: EventBus, clock: Clock) -> None:
    clock.now = START.timestamp()
    publish(bus, ("task_submitted", 1), ("task_submitted", 2), ("queue_paused", None))
    finish(bus, 1)

    totals = bus.handle(MeasureBus(frozenset()))
    sums = [(each.tally.submitted, each.tally.completed) for each in totals.tallies]
    assert [sum(column) for column in zip(*sums, strict=True)] == [2, 1]
    assert bus.handle(GetThroughput()) == round(1 / 60, 3)
