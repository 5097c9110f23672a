"""A reader of a reply whose pieces come from another server: all of them, and then its end."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ollama_queue.actors.base.actor import Ping, Ref, ask, start, stop, tell
from ollama_queue.actors.base.mailbox import Mailbox
from ollama_queue.actors.core.messages import (
    CallsPlaced,
    CloseSubscriptions,
    Publish,
    RelayEnded,
    Subscribe,
)
from ollama_queue.actors.core.model.lifecycle import become
from ollama_queue.actors.core.model.orders import PlacedCall
from ollama_queue.actors.core.model.tasks import Piece, Status
from ollama_queue.actors.embedded import watch
from ollama_queue.actors.event_bus import EventBus
from tests.support.harness.event_bus import TASK, WHOLE, EventBusHarness, shown
from tests.support.recorders import PATIENCE_S, completed, started

PLACED = CallsPlaced((PlacedCall("other", TASK, 1).key,))


class RelayingHouse(EventBusHarness):
    """Its task runs at another server; the test acts as the relay."""

    def __init__(self, folder: Path) -> None:
        self.is_followed = Event()
        super().__init__(folder, lambda bus: self.open_relay)
        tell(self.bus, PLACED)
        self.commit(started(1))

    def open_relay(self, call: PlacedCall, pause_s: float) -> Callable[[], None]:
        self.is_followed.set()
        return lambda: None

    def relay_ended(self, *, is_complete: bool) -> None:
        tell(self.bus, RelayEnded(TASK, 1, is_complete))
        ask(self.bus, Ping())

    def restart(self) -> Ref:
        """Have another bus, which knows nothing of what was."""
        tell(self.bus, CloseSubscriptions("restarted"))
        bus = start(EventBus, print)
        self.connect(bus)
        return bus


@pytest.fixture
def house(tmp_path: Path) -> Iterator[RelayingHouse]:
    made = RelayingHouse(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("is_complete", "rest"),
    [
        (True, [("1.2", "done")]),
        (False, [("1.0", "restart"), ("1.0", WHOLE), ("1.1", "done")]),
    ],
)
def test_who_has_had_all_pieces_needs_no_reply_after_a_restart(
    house: RelayingHouse, is_complete: bool, rest: list[tuple[str, object]]
) -> None:
    reader = house.stream()
    with ThreadPoolExecutor() as threads:
        first = threads.submit(lambda: [next(reader), next(reader)])
        assert house.is_followed.wait(PATIENCE_S)
        house.send(1, 0, "a", "b")
        assert [chunk.data for chunk in first.result(PATIENCE_S)] == ["a", "b"]
        others = threads.submit(shown, reader)
        house.relay_ended(is_complete=is_complete)
        bus = house.restart()
        house.commit(completed(1))
        tell(bus, CloseSubscriptions("restarted"))  # its store tells the old bus of the end
        house.connect(bus)

        assert others.result(PATIENCE_S) == rest
    stop(bus, PATIENCE_S)


def test_who_comes_at_the_end_waits_for_the_last_pieces(house: RelayingHouse) -> None:
    house.commit(completed(1))
    with ThreadPoolExecutor() as threads:
        all_of_it = threads.submit(lambda: shown(house.stream()))
        assert house.is_followed.wait(PATIENCE_S)
        house.send(1, 0, "a", "b")
        house.relay_ended(is_complete=True)

        assert all_of_it.result(PATIENCE_S) == [("1.0", "a"), ("1.1", "b"), ("1.2", "done")]


def test_who_comes_at_the_end_has_the_reply_if_the_pieces_do_not_come(
    house: RelayingHouse,
) -> None:
    house.commit(completed(1))
    tell(house.bus, CallsPlaced(ended=PLACED.placed))
    with ThreadPoolExecutor() as threads:
        all_of_it = threads.submit(lambda: shown(house.stream()))
        assert house.is_followed.wait(PATIENCE_S)
        house.send(1, 0, "a")
        house.relay_ended(is_complete=False)

        assert all_of_it.result(PATIENCE_S)[-2:] == [("1.0", WHOLE), ("1.1", "done")]


def test_a_task_that_never_ran_has_no_pieces_to_wait_for(tmp_path: Path) -> None:
    house = EventBusHarness(tmp_path, lambda bus: lambda call, pause_s: lambda: None)
    house.commit(become(TASK, Status.PENDING, Status.CANCELLED))

    assert shown(house.stream()) == [("0.0", "cancelled")]
    house.close()


def test_who_finds_the_end_before_its_news_has_all_pieces(house: RelayingHouse) -> None:
    """The store is ahead of a bus that hears events from another server."""
    behind = start(EventBus, print, make_relays=lambda bus: house.open_relay)
    events = Mailbox[Any]()
    ask(house.bus, Subscribe(events))
    tell(behind, CloseSubscriptions("restarted", events.since))
    house.connect(behind)
    house.commit(completed(1))
    stream = watch.PieceStream(house.switchboard, TASK, heartbeat=0.1)

    assert [next(stream) for _ in range(3)] == [[], [], []]
    tell(behind, PLACED)
    house.send(1, 0, "a", "b", bus=behind)
    tell(behind, RelayEnded(TASK, 1, is_complete=True))
    tell(behind, Publish(tuple(events.drain())))

    rest = [item for deliveries in stream for item in deliveries]
    assert [item.raw for item in rest if isinstance(item, Piece)] == [b'"a"', b'"b"']
    stop(behind, PATIENCE_S)
