"""The event bus of one server among several: whose pieces it relays, lends, and keeps."""

from collections.abc import Callable
from typing import Any

import pytest

from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.base.relayed_streams import LATE_S, OpenRelay
from ollama_queue.actors.base.stream_log import STEP_BYTES, StreamLog
from ollama_queue.actors.core.messages import (
    CallsPlaced,
    CloseSubscriptions,
    Follow,
    LendStream,
    Publish,
    RelayBegun,
    RelayEnded,
    ReturnStream,
    StreamEnded,
    StreamGrew,
    Subscribe,
    Unsubscribe,
)
from ollama_queue.actors.core.model.event_names import ENDS
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.orders import PlacedCall
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece, Status
from ollama_queue.actors.event_bus import EventBus
from tests.support.recorders import START, Recorder, a_record, task_id

BEGUN = AttemptBegun(1, "gpu1", 0.0)
CALL = PlacedCall("x", task_id(1), 1)


class Relays:
    """The relays that a bus has opened and ended."""

    def __init__(self) -> None:
        self.opened: list[PlacedCall] = []
        self.aborted: list[PlacedCall] = []

    def make(self, bus: object) -> OpenRelay:
        def open_relay(call: PlacedCall, pause_s: float) -> Callable[[], None]:
            self.opened.append(call)
            return lambda: self.aborted.append(call)

        return open_relay


@pytest.fixture
def relays() -> Relays:
    return Relays()


@pytest.fixture
def bus(relays: Relays) -> EventBus:
    """Of a server that follows."""
    return EventBus(lambda text: None, make_relays=relays.make, follows=True)


def follow(bus: EventBus) -> Mailbox[Any]:
    mailbox = Mailbox[Any]()
    bus.handle(Follow(mailbox, task_id(1), ENDS))
    return mailbox


def relayed(bus: EventBus, *words: bytes, is_complete: bool | None = None) -> StreamLog:
    """Have a relay tell the bus of these pieces, and perhaps of its end."""
    log = StreamLog(BEGUN)
    for word in words:
        if log.append(word):
            bus.handle(StreamGrew(task_id(1), log))
    if is_complete is not None:
        bus.handle(RelayEnded(task_id(1), 1, is_complete))
    return log


def pieces(mailbox: Mailbox[Any]) -> list[bytes]:
    return [item.raw for item in mailbox.drain() if isinstance(item, Piece)]


def event(name: str, status: Status) -> Publish:
    return Publish((EventRecord(name, a_record(1, status=status, attempt=1), START, 1),))


def test_who_follows_the_leader_s_events_hears_where_all_calls_are_made(relays: Relays) -> None:
    bus = EventBus(lambda text: None, make_relays=relays.make)
    bus.handle(CallsPlaced((CALL.key,)))
    mailbox = Mailbox[Any]()

    bus.handle(Subscribe(mailbox, calls=True))
    bus.handle(CallsPlaced(ended=(CALL.key,)))

    assert mailbox.drain() == [
        CallsPlaced((CALL.key,), are_all=True),
        CallsPlaced(ended=(CALL.key,)),
    ]


def test_who_begins_to_listen_to_the_leader_hears_which_calls_have_just_ended(
    relays: Relays,
) -> None:
    now = [10.0]
    leader = EventBus(lambda text: None, clock=lambda: now[0], make_relays=relays.make)
    bus = EventBus(lambda text: None, make_relays=relays.make, follows=True)
    leader.handle(event("task_started", Status.RUNNING))
    leader.handle(event("task_completed", Status.COMPLETED))
    now[0] += 20.0
    heard = Mailbox[Any]()
    leader.handle(Subscribe(heard, calls=True))
    (first,) = heard.drain()
    bus.handle(first)

    reader = follow(bus)

    assert first == CallsPlaced(are_all=True, late=((f":{task_id(1)}:1", LATE_S - 20.0),))
    assert relays.opened == [PlacedCall("", task_id(1), 1)]
    assert reader.drain() == [RelayBegun(1)]


def test_a_call_of_the_leader_is_followed_there_as_soon_as_it_starts(
    bus: EventBus, relays: Relays
) -> None:
    reader = follow(bus)

    bus.handle(event("task_started", Status.RUNNING))

    assert relays.opened == [PlacedCall("", task_id(1), 1)]
    assert reader.drain() == [RelayBegun(1)]


def test_the_end_comes_after_the_last_piece(bus: EventBus) -> None:
    reader = follow(bus)
    bus.handle(event("task_started", Status.RUNNING))
    bus.handle(event("task_completed", Status.COMPLETED))
    relayed(bus, b"a", b"b", is_complete=True)

    begun, head, *both, ended, end = reader.drain()
    assert (begun, head, [piece.raw for piece in both]) == (RelayBegun(1), BEGUN, [b"a", b"b"])
    assert (ended, end.event) == (RelayEnded(task_id(1), 1, is_complete=True), "task_completed")


def test_a_relay_ends_when_its_last_reader_leaves(bus: EventBus, relays: Relays) -> None:
    bus.handle(CallsPlaced((CALL.key,)))
    readers = follow(bus), follow(bus)

    bus.handle(Unsubscribe(readers[0]))
    assert relays.aborted == []
    bus.handle(Unsubscribe(readers[1]))

    assert (relays.opened, relays.aborted) == ([CALL], [CALL])


def test_pieces_come_while_the_leader_s_events_do_not(bus: EventBus, relays: Relays) -> None:
    bus.handle(CallsPlaced((CALL.key,)))
    reader, feed = follow(bus), Mailbox[Any]()
    bus.handle(Subscribe(feed))

    bus.handle(CloseSubscriptions("restarted", but_readers=True))
    relayed(bus, b"a")
    assert pieces(reader) == [b"a"]
    with pytest.raises(Closed, match="restarted"):
        feed.get()

    bus.handle(CloseSubscriptions("restarted"))
    with pytest.raises(Closed, match="restarted"):
        reader.get()
    assert relays.aborted == []  # they come back
    assert pieces(follow(bus)) == [b"a"]


def test_who_comes_while_no_events_arrive_is_sent_away(bus: EventBus) -> None:
    def is_open(mailbox: Mailbox[Any], message: Any) -> bool:
        bus.handle(message)
        return mailbox.reason is None

    def are_open() -> tuple[bool, bool]:
        feed, reader = Mailbox[Any](), Mailbox[Any]()
        return is_open(feed, Subscribe(feed)), is_open(reader, Follow(reader, task_id(1), ENDS))

    bus.handle(CloseSubscriptions("restarted", but_readers=True, stays=True))
    assert are_open() == (False, True)
    bus.handle(CloseSubscriptions("restarted", stays=True))
    bus.handle(CloseSubscriptions("restarted", but_readers=True, stays=True))
    assert are_open() == (False, False)
    bus.handle(CloseSubscriptions("restarted"))
    assert are_open() == (True, True)


@pytest.mark.parametrize(("is_complete", "kept"), [(True, [b"a"]), (False, [])])
def test_who_comes_late_never_takes_a_part_for_the_whole(
    bus: EventBus, is_complete: bool, kept: list[bytes]
) -> None:
    bus.handle(CallsPlaced((CALL.key,)))
    bus.handle(Unsubscribe(follow(bus)))

    relayed(bus, b"a", is_complete=is_complete)

    assert pieces(follow(bus)) == kept


def test_a_log_is_lent_until_it_is_complete() -> None:
    owner, borrower = EventBus(lambda text: None), Recorder()
    lent = LendStream(task_id(1), 1, borrower)

    owner.handle(lent)
    log = relayed(owner, b"a", b"x" * STEP_BYTES)
    owner.handle(StreamEnded(task_id(1), 1))
    owner.handle(ReturnStream(lent))

    grew = StreamGrew(task_id(1), log)
    assert borrower.told == [grew, grew, RelayEnded(task_id(1), 1, is_complete=True)]


def test_a_log_is_lent_when_it_is_complete_already() -> None:
    owner, borrower = EventBus(lambda text: None), Recorder()
    log = relayed(owner, b"a")
    owner.handle(StreamEnded(task_id(1), 1))

    owner.handle(LendStream(task_id(1), 1, borrower))

    complete = RelayEnded(task_id(1), 1, is_complete=True)
    assert borrower.told == [StreamGrew(task_id(1), log), complete]


@pytest.mark.parametrize("how", ["returned", "closed"])
def test_a_log_that_is_given_back_is_not_complete(how: str) -> None:
    owner, borrower = EventBus(lambda text: None), Recorder()
    lent = LendStream(task_id(1), 1, borrower)
    owner.handle(lent)

    if how == "returned":
        owner.handle(ReturnStream(lent))
        relayed(owner, b"a")
    else:
        owner.on_close()

    assert borrower.told == [RelayEnded(task_id(1), 1, is_complete=False)]


def test_who_joins_a_log_twice_has_each_piece_once() -> None:
    log, reader = StreamLog(BEGUN), Mailbox[Any]()
    log.append(b"a")

    log.join(reader)
    log.join(reader)
    log.append(b"b")

    assert pieces(reader) == [b"a", b"b"]
