"""The stream of a call of the leader on its way to a server whose client reads it."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import msgspec
import pytest

from ollama_queue.actors.core.messages import StreamEnded
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece
from ollama_queue.actors.fleet.stream_frames import frames
from ollama_queue.actors.fleet.stream_relay import LEADER_PATH
from ollama_queue.http.forwarding.stream_door import StreamDoor
from ollama_queue.http.requests.exchange import Exchange
from tests.support.harness.event_bus import TASK, EventBusHarness
from tests.support.recorders import PATIENCE_S, completed, started


class Answer:
    """What the door answers to a server that asks for an attempt."""

    def __init__(self, house: EventBusHarness, attempt: int = 1) -> None:
        self.status = 0
        self.sent: list[bytes] = []
        self.news: SimpleQueue[None] = SimpleQueue()
        target = f"{LEADER_PATH}{TASK}/{attempt}"
        exchange = Exchange("GET", target, "", {}, BytesIO())
        door = StreamDoor(house.switchboard)
        self.thread = Thread(target=lambda: door.answer(exchange, target, self))
        self.thread.start()

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None:
        self.status = status
        for piece in pieces:
            self.sent.append(piece)
            self.news.put(None)

    def frames(self) -> list[object]:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return [*frames(TASK, self.sent)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[EventBusHarness]:
    made = EventBusHarness(tmp_path)
    made.commit(started(1))
    yield made
    made.close()


BEGUN = AttemptBegun(1, "ollama", 0.0)
A, B = (Piece(1, number, msgspec.json.encode(word)) for number, word in enumerate("ab"))
END = StreamEnded(TASK, 1)


def test_its_end_follows_its_last_piece(house: EventBusHarness) -> None:
    house.send(1, 0, "a")
    answer = Answer(house)
    answer.news.get(timeout=PATIENCE_S)
    house.send(1, 1, "b")
    house.commit(completed(1))

    assert answer.frames() == [BEGUN, A, B, END]


def test_an_attempt_ends_with_its_retry(house: EventBusHarness) -> None:
    house.send(1, 0, "a")
    answer = Answer(house)
    answer.news.get(timeout=PATIENCE_S)
    house.retry(1)

    assert answer.frames() == [BEGUN, A, END]


def test_one_that_has_ended_is_sent_at_once(house: EventBusHarness) -> None:
    house.send(1, 0, "a", "b")
    house.commit(completed(1))

    assert Answer(house).frames() == [BEGUN, A, B, END]


def test_the_end_of_an_earlier_leader_s_call_is_not_said(house: EventBusHarness) -> None:
    """Nobody here knows whether the pieces elsewhere are all."""
    house.commit(completed(1))

    answer = Answer(house)

    assert answer.frames() == []
    assert answer.status == 200


def test_who_leads_no_more_sends_nothing(house: EventBusHarness) -> None:
    house.switchboard.disconnect(Unavailable("another server leads"))

    answer = Answer(house)

    assert (answer.frames(), answer.status) == ([], 403)
