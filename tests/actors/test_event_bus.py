"""The event bus: who hears what, and what is kept for those who come late."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ollama_queue.actors import event_bus
from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.core.messages import (
    Attach,
    Chunks,
    ChunksReady,
    CloseSubscriptions,
    GetHistory,
    GetThroughput,
    Publish,
    Subscribe,
    Unsubscribe,
    Wake,
)
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.event_bus import KEEP_S, EventBus
from tests.support.recorders import START, Recorder, a_record, task_id


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


def attach(bus: EventBus, number: int, size: int = 1000) -> Mailbox[Any]:
    mailbox = Mailbox[Any](size)
    assert bus.handle(Attach(mailbox, task_id(number))) is True
    return mailbox


def publish(bus: EventBus, *events: tuple[str, int | None]) -> None:
    made = (
        EventRecord(name, None if number is None else a_record(number), START, seq)
        for seq, (name, number) in enumerate(events)
    )
    bus.handle(Publish(tuple(made)))


def send(bus: EventBus, number: int, attempt: int, first: int, *pieces: Any) -> None:
    bus.handle(Chunks(Recorder(), task_id(number), attempt, first, pieces))


def finish(bus: EventBus, number: int, status: Status = Status.COMPLETED) -> None:
    event = EventRecord("task_completed", a_record(number, status=status), START, 1)
    bus.handle(Publish((event,)))


def heard(mailbox: Mailbox[EventRecord]) -> list[tuple[str, str | None]]:
    return [(e.event, e.task.id if e.task else None) for e in mailbox.drain()]


def read(mailbox: Mailbox[Any]) -> list[tuple[str, Any]]:
    return [(chunk.id, chunk.data) for chunk in mailbox.drain()]


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
    mailboxes = [subscribe(bus), subscribe(bus, tasks=[1]), attach(bus, 1)]

    bus.handle(CloseSubscriptions("shutdown"))

    assert [why_closed(mailbox) for mailbox in mailboxes] == ["shutdown"] * 3
    assert (bus.subscribers, bus.by_task, bus.readers) == ({}, {}, {})


def test_a_bus_that_stops_says_that_all_begins_anew(bus: EventBus) -> None:
    mailbox = subscribe(bus)
    bus.on_close()

    assert why_closed(mailbox) == "restarted"


# --- streams ------------------------------------------------------------------------------------


def test_the_sender_is_told_to_send_more(bus: EventBus) -> None:
    sender = Recorder()
    bus.handle(Chunks(sender, task_id(1), 1, 0, ("a",)))

    assert sender.told == [ChunksReady()]


def test_readers_get_pieces_as_they_come_and_late_ones_from_the_first(bus: EventBus) -> None:
    early = attach(bus, 1)
    send(bus, 1, 1, 0, "a", "b")
    late = attach(bus, 1)
    send(bus, 2, 1, 0, "of another task")
    send(bus, 1, 1, 2, "c")

    assert read(early) == read(late) == [("1.0", "a"), ("1.1", "b"), ("1.2", "c")]


def test_a_new_attempt_replaces_the_old_and_what_the_old_still_says_is_dropped(
    bus: EventBus,
) -> None:
    early = attach(bus, 1)
    send(bus, 1, 1, 0, "old")
    send(bus, 1, 2, 0, "new")
    send(bus, 1, 1, 1, "too late")

    assert read(early) == [("1.0", "old"), ("2.0", "new")]
    assert read(attach(bus, 1)) == [("2.0", "new")]


def test_a_stream_that_outgrows_its_buffer_is_not_kept(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "BUFFER_BYTES", 10)
    early = attach(bus, 1)
    for number in range(4):
        send(bus, 1, 1, number, "12345")

    assert len(read(early)) == 4
    assert read(attach(bus, 1)) == []
    assert bus.bytes == 0


def test_all_buffers_together_stay_within_bounds(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "ALL_BUFFERS_BYTES", 20)
    for number in range(1, 6):
        send(bus, number, 1, 0, "123456789")

    kept = [number for number in range(1, 6) if read(attach(bus, number))]
    assert (kept, bus.bytes) == ([4, 5], 18)


def test_a_stream_that_is_no_longer_kept_costs_the_others_nothing(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "BUFFER_BYTES", 10)
    monkeypatch.setattr(event_bus, "ALL_BUFFERS_BYTES", 20)
    send(bus, 1, 1, 0, "123456789")
    send(bus, 2, 1, 0, "12345678901")
    send(bus, 2, 1, 1, "12345678901234567890")

    assert read(attach(bus, 1)) == [("1.0", "123456789")]


def test_a_stream_outlives_its_end_for_a_while(bus: EventBus, clock: Clock) -> None:
    send(bus, 1, 1, 0, "a")
    finish(bus, 1)
    clock.now += KEEP_S - 1
    bus.handle(Wake())
    assert read(attach(bus, 1)) == [("1.0", "a")]

    clock.now += 1
    bus.handle(Wake())

    assert read(attach(bus, 1)) == []
    assert (bus.streams, bus.ended, bus.bytes) == ({}, {}, 0)


def test_each_ended_stream_goes_in_its_turn(bus: EventBus, clock: Clock) -> None:
    due: list[float] = []
    bus.wake_at = due.append  # type: ignore[method-assign, assignment]
    for number in (1, 2):
        send(bus, number, 1, 0, "a")
        finish(bus, number)
        clock.now += 10

    clock.now = 1000 + KEEP_S
    bus.handle(Wake())

    assert list(bus.streams) == [task_id(2)]
    assert due[-1] == 1000 + KEEP_S + 10


def test_a_reader_that_cannot_keep_up_is_dropped(bus: EventBus) -> None:
    slow = attach(bus, 1, size=1)
    send(bus, 1, 1, 0, "a", "b", "c")

    assert read(slow) == [("1.0", "a")]
    assert why_closed(slow) == "lagged"
    assert bus.readers == {}


def test_a_mailbox_for_both_gets_the_end_behind_the_last_piece(bus: EventBus) -> None:
    mailbox = subscribe(bus, tasks=[1])
    bus.handle(Attach(mailbox, task_id(1)))
    send(bus, 1, 1, 0, "a")
    finish(bus, 1)

    kinds: list[Callable[..., Any]] = [type(item) for item in mailbox.drain()]
    assert [kind.__name__ for kind in kinds] == ["Chunk", "EventRecord"]


# --- history ------------------------------------------------------------------------------------


def test_it_counts_what_it_publishes(bus: EventBus, clock: Clock) -> None:
    clock.now = START.timestamp()
    publish(bus, ("task_submitted", 1), ("task_submitted", 2), ("queue_paused", None))
    finish(bus, 1)

    now = bus.handle(GetHistory())[-1]
    assert (now.submitted, now.completed, now.throughput) == (2, 1, 1)
    assert bus.handle(GetThroughput()) == round(1 / 60, 3)
