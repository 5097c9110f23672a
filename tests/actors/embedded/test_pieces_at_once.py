"""Pieces that are written in the thread of their call while the reader waits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from ollama_queue.actors.base import mailbox
from ollama_queue.actors.core.model.tasks import Chunk, Piece
from ollama_queue.actors.embedded import watch
from tests.support.harness.event_bus import TASK, EventBusHarness
from tests.support.recorders import PATIENCE_S, completed, started


@pytest.fixture(autouse=True)
def each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "ALONE_S", 0.0)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[EventBusHarness]:
    made = EventBusHarness(tmp_path)
    made.commit(started(1))
    yield made
    made.close()


class Reader:
    """Reads in a thread of its own; `delivered` has what came to it, `written` what did not."""

    def __init__(self, house: EventBusHarness) -> None:
        self.delivered: SimpleQueue[list[Any]] = SimpleQueue()
        self.written: SimpleQueue[bytes] = SimpleQueue()
        self.answers: list[bool | Exception] = []  # of the next calls of `write`; then True
        self.house = house
        self.stream = watch.PieceStream(house.switchboard, TASK, PATIENCE_S)
        self.stream.write = self.write

    def write(self, piece: Piece) -> bool:
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        self.written.put(piece.raw)
        return answer

    def run(self) -> None:
        for deliveries in self.stream:
            self.delivered.put([_brief(each) for each in deliveries])

    def next(self) -> list[Any]:
        return self.delivered.get(timeout=PATIENCE_S)

    def await_waiting(self) -> None:
        """Until the reader waits for a piece, so that the next one can be written at once, and
        nothing else is on its way: its task as it was at first comes by itself."""
        (waiting,) = self.house.logs[1]._readers
        while self.stream.task is None or waiting._handle is None:
            pass


def _brief(item: Piece | Chunk) -> bytes | str:
    if isinstance(item, Piece):
        return item.raw
    return "done" if item.done else "restart"


@pytest.fixture
def reader(house: EventBusHarness) -> Iterator[Reader]:
    """One that has the first piece and waits."""
    made = Reader(house)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(made.run)
        house.send(1, 0, 0)
        assert made.next() == [b"0"]
        made.await_waiting()
        yield made
        made.stream.close()
        running.result(PATIENCE_S)


def test_pieces_are_written_and_wake_nobody(house: EventBusHarness, reader: Reader) -> None:
    house.send(1, 1, 1, 2)
    house.commit(completed(1))

    assert reader.next() == ["done"]
    assert [reader.written.get_nowait() for _ in range(2)] == [b"1", b"2"]


def test_what_is_not_written_completely_wakes_the_reader(
    house: EventBusHarness, reader: Reader
) -> None:
    reader.answers = [False]
    house.send(1, 1, 1)

    assert reader.next() == []
    reader.await_waiting()
    house.send(1, 2, 2)
    house.commit(completed(1))
    assert reader.next() == ["done"]
    assert [reader.written.get_nowait() for _ in range(2)] == [b"1", b"2"]


def test_a_piece_that_cannot_be_written_is_delivered(
    house: EventBusHarness, reader: Reader
) -> None:
    reader.answers = [ValueError("cannot be encoded")]
    house.send(1, 1, 1)

    assert reader.next() == [b"1"]


def test_large_pieces_are_delivered(
    house: EventBusHarness, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AT_ONCE_BYTES", 2)
    house.send(1, 1, 12)
    house.send(1, 2, 123)

    assert reader.next() == [b"123"]
    assert reader.written.get_nowait() == b"12"


def test_a_new_attempt_is_delivered_as_a_restart(house: EventBusHarness, reader: Reader) -> None:
    house.send(1, 1, 1)
    house.retry(1)
    house.send(2, 0, 10)

    assert reader.next() == ["restart", b"10"]
    assert reader.written.get_nowait() == b"1"
