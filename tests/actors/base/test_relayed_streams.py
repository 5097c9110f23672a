"""The streams of other servers: when they are followed, and when an end is told."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ollama_queue.actors.base.mailbox import Mailbox
from ollama_queue.actors.base.relayed_streams import (
    END_PATIENCE_S,
    LATE_S,
    MOST_TOLD,
    RelayedStreams,
)
from ollama_queue.actors.core.messages import CallsPlaced, RelayBegun, RelayEnded
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.orders import PlacedCall
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.core.plan.acceptance import accept
from tests.support.plans import GREETING, NOW, at


class Followed:
    """A task's streams, and the relays that were opened."""

    def __init__(self, *, leads: bool = True) -> None:
        self.opened: list[tuple[int, float]] = []
        self.aborted: list[int] = []
        self.streams = RelayedStreams(self.open, leads=leads)
        self.reader = Mailbox[Any]()

    def open(self, call: PlacedCall, pause_s: float) -> Callable[[], None]:
        self.opened.append((call.attempt, pause_s))
        return lambda: self.aborted.append(call.attempt)

    def place(self, attempt: int = 1, *, is_read: bool = False, now: float = 0.0) -> None:
        placed = call(attempt)
        readers = {"t": [self.reader]} if is_read else {}
        self.streams.place(CallsPlaced((placed.key,)), readers, now)

    def over(self, attempt: int = 1, now: float = 0.0) -> None:
        self.streams.place(CallsPlaced(ended=(call(attempt).key,)), {}, now)

    def follow(self) -> None:
        self.streams.follow("t", self.reader, 0.0)

    def relay_ended(self, attempt: int = 1, *, is_complete: bool) -> list[Any]:
        message = RelayEnded("t", attempt, is_complete)
        return self.streams.ended(message, [self.reader])


def call(attempt: int) -> PlacedCall:
    return PlacedCall("x", "t", attempt)


def end_of(attempt: int = 1) -> EventRecord:
    task = replace(accept("t", GREETING, 3, NOW), attempt=attempt)
    return EventRecord("task_completed", task, at(0), 1)


def started(attempt: int = 1) -> Record:
    return replace(accept("t", GREETING, 3, NOW), attempt=attempt, status=Status.RUNNING)


def held(followed: Followed, event: EventRecord) -> bool:
    assert event.task is not None
    return followed.streams.hold(event, event.task, followed.reader)


def test_a_stream_is_followed_once_somebody_reads_it() -> None:
    followed = Followed()

    followed.place()
    assert followed.opened == []
    followed.follow()
    followed.follow()

    assert followed.opened == [(1, 0.0)]
    assert followed.reader.drain() == [RelayBegun(1), RelayBegun(1)]


def test_a_call_that_is_waited_for_is_followed_when_it_begins() -> None:
    followed = Followed()

    followed.place(is_read=True)

    assert followed.opened == [(1, 0.0)]


def test_the_end_waits_for_the_last_piece() -> None:
    followed, event = Followed(), end_of()
    followed.place(is_read=True)

    assert held(followed, event)
    followed.over()

    assert followed.relay_ended(is_complete=True) == [(followed.reader, event)]
    assert not held(followed, event)


def test_the_end_of_an_attempt_here_waits_for_no_earlier_one() -> None:
    followed = Followed()
    followed.place(is_read=True)

    assert not held(followed, end_of(attempt=2))


def test_a_relay_that_breaks_begins_anew_while_its_call_goes_on() -> None:
    followed, event = Followed(), end_of()
    followed.place(is_read=True)
    held(followed, event)

    assert followed.relay_ended(is_complete=False) == []

    assert followed.opened == [(1, 0.0), (1, 1.0)]
    told = [RelayBegun(1), RelayEnded("t", 1, is_complete=False), RelayBegun(1)]
    assert followed.reader.drain() == told


def test_without_the_last_piece_the_end_comes_all_the_same() -> None:
    followed, event = Followed(), end_of()
    followed.place(is_read=True)
    held(followed, event)
    followed.over(now=10.0)

    followed.streams.abort_late(10.0 + END_PATIENCE_S - 0.1)
    assert followed.aborted == []
    followed.streams.abort_late(10.0 + END_PATIENCE_S)

    assert followed.aborted == [1]
    assert followed.relay_ended(is_complete=False) == [(followed.reader, event)]


def test_the_next_attempt_ends_the_relay_of_the_last_one() -> None:
    followed = Followed()
    followed.place(1, is_read=True)

    followed.place(2, is_read=True)
    assert followed.aborted == [1]
    followed.relay_ended(1, is_complete=False)

    assert followed.opened == [(1, 0.0), (2, 0.0)]


def test_an_older_attempt_changes_nothing() -> None:
    followed = Followed()
    followed.place(2)
    followed.over(1)
    followed.place(1)

    followed.follow()

    assert followed.opened == [(2, 0.0)]


def test_the_leader_s_own_calls_are_followed_by_others_only() -> None:
    for leads in (True, False):
        followed = Followed(leads=leads)
        followed.streams.take(started(), {"t": [followed.reader]}, 0.0)

        followed.follow()

        assert followed.opened == ([] if leads else [(1, 0.0)])
        assert followed.streams.all_calls(0.0) == CallsPlaced((":t:1",), are_all=True)


def test_a_call_that_was_placed_is_none_of_the_leader_s() -> None:
    followed = Followed(leads=False)
    followed.place()

    followed.streams.take(started(), {}, 0.0)

    assert followed.streams.all_calls(0.0) == CallsPlaced(("x:t:1",), are_all=True)


def test_a_call_of_the_leader_ends_with_an_event() -> None:
    followed = Followed(leads=False)
    followed.streams.take(started(), {"t": [followed.reader]}, 0.0)
    task = end_of().task
    assert task is not None

    assert followed.streams.take(replace(task, status=Status.COMPLETED), {}, 10.0)

    assert held(followed, end_of())
    assert followed.streams.next_due == 10.0 + END_PATIENCE_S
    assert followed.streams.all_calls(10.0).placed == ()


def test_calls_that_another_leader_does_not_name_have_ended() -> None:
    followed = Followed(leads=False)
    followed.streams.take(started(), {"t": [followed.reader]}, 0.0)

    followed.streams.place(CallsPlaced(("x:u:1",), are_all=True), {}, 10.0)

    assert followed.streams.next_due == 10.0 + END_PATIENCE_S
    assert followed.streams.all_calls(10.0).placed == ("x:u:1",)


def test_a_relay_ends_with_its_last_reader() -> None:
    followed = Followed()
    followed.place(is_read=True)

    followed.streams.leave("t")
    assert followed.aborted == [1]
    assert followed.streams.ended(RelayEnded("t", 1, is_complete=False), []) == []
    followed.follow()

    assert followed.opened == [(1, 0.0), (1, 0.0)]


def test_who_comes_while_a_relay_is_given_up_has_the_next_one_at_once() -> None:
    followed = Followed()
    followed.place(is_read=True)
    followed.streams.leave("t")

    followed.follow()
    followed.relay_ended(is_complete=False)

    assert followed.opened == [(1, 0.0), (1, 0.0)]


def test_the_pieces_of_a_call_can_be_had_for_a_while_after_its_end() -> None:
    followed = Followed()
    followed.place()
    followed.over(now=10.0)

    followed.streams.follow("t", followed.reader, 20.0)
    assert followed.streams.next_due == 20.0 + END_PATIENCE_S
    assert followed.relay_ended(is_complete=True) == []
    followed.streams.follow("t", followed.reader, 21.0)

    assert followed.opened == [(1, 0.0)]
    assert followed.reader.drain() == [RelayBegun(1), RelayEnded("t", 1, is_complete=True)]


def test_a_call_that_ended_long_ago_is_not_followed() -> None:
    followed = Followed()
    followed.place()
    followed.over(now=10.0)

    followed.streams.follow("t", followed.reader, 10.0 + LATE_S)

    assert followed.opened == []


def test_the_newest_calls_that_have_ended_are_told() -> None:
    teller, listener = Followed(), Followed(leads=False)
    keys = tuple(PlacedCall("x", f"{n}", 1).key for n in range(MOST_TOLD + 1))
    teller.streams.place(CallsPlaced(keys), {}, 0.0)
    teller.streams.place(CallsPlaced(ended=keys), {}, 10.0)

    news = teller.streams.all_calls(30.0)
    listener.streams.place(news, {}, 1000.0)
    for task_id, now in (("0", 1000.0), ("1", 1000.0), ("2", 1000.0 + LATE_S - 20.0)):
        listener.streams.follow(task_id, listener.reader, now)

    assert (len(news.late), news.late[0]) == (MOST_TOLD, (keys[1], LATE_S - 20.0))
    assert listener.opened == [(1, 0.0)]
    assert teller.streams.all_calls(10.0 + LATE_S).late == ()


def test_a_call_that_ended_before_the_next_one_began_is_not_told() -> None:
    followed = Followed()
    followed.place(1)
    followed.over(1)
    followed.place(2)

    assert followed.streams.all_calls(0.0) == CallsPlaced((call(2).key,), are_all=True)
