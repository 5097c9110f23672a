"""The log that a call and its readers share: nothing lost, doubled or out of order."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from sys import getswitchinterval, setswitchinterval
from typing import Any

import pytest

from ollama_queue.actors.base import mailbox, stream_log
from ollama_queue.actors.base.mailbox import Closed, Mailbox
from ollama_queue.actors.base.stream_log import LEAST_BYTES, STEP_BYTES, StreamLog
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece
from tests.support.recorders import PATIENCE_S

BEGUN = AttemptBegun(3, "ollama", 0.0)


@pytest.fixture
def log() -> StreamLog:
    return StreamLog(BEGUN)


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = getswitchinterval()
    setswitchinterval(1e-6)
    yield
    setswitchinterval(before)


def joined(log: StreamLog, size: int = 1000) -> Mailbox[Any]:
    mailbox = Mailbox[Any](size)
    log.join(mailbox)
    return mailbox


def numbers(mailbox: Mailbox[Any]) -> list[int]:
    return [int(item.raw) for item in mailbox.drain() if isinstance(item, Piece)]


def test_a_reader_gets_what_was_and_what_comes(log: StreamLog) -> None:
    log.append(b"0")
    reader = joined(log)
    log.append(b"1")

    assert reader.drain() == [BEGUN, Piece(3, 0, b"0"), Piece(3, 1, b"1")]


def test_it_says_when_its_memory_changes(log: StreamLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", 3 * STEP_BYTES)
    half = b"x" * (STEP_BYTES // 2)
    told = [(log.append(half), log.reserved // STEP_BYTES) for _ in range(8)]

    assert told == [
        (True, 1),
        (False, 1),
        (True, 2),
        (False, 2),
        (True, 3),
        (False, 3),
        (True, 0),  # it has outgrown its limit and keeps nothing
        (False, 0),
    ]
    assert numbers_of_pieces(joined(log)) == []


def test_small_pieces_count_for_what_they_take(log: StreamLog) -> None:
    for _ in range(2 * STEP_BYTES // LEAST_BYTES):
        log.append(b"{}")

    assert log.reserved == 2 * STEP_BYTES


def numbers_of_pieces(mailbox: Mailbox[Any]) -> list[int]:
    return [item.number for item in mailbox.drain() if isinstance(item, Piece)]


def test_a_log_that_keeps_nothing_still_reaches_its_readers(log: StreamLog) -> None:
    early = joined(log)
    log.append(b"0")
    log.empty()
    late = joined(log)
    log.append(b"1")

    assert (numbers(early), late.drain()) == ([0, 1], [BEGUN, Piece(3, 1, b"1")])
    assert log.reserved == 0


def test_a_full_reader_is_dropped_and_the_others_are_not(log: StreamLog) -> None:
    slow, quick = joined(log, size=2), joined(log)
    for number in range(3):
        log.append(b"%d" % number)

    assert (numbers(slow), slow.reason) == ([0], "lagged")
    assert numbers(quick) == [0, 1, 2]


def test_what_comes_after_its_end_is_discarded(log: StreamLog) -> None:
    reader = joined(log)
    log.append(b"0")
    log.close()

    assert not log.append(b"1")
    assert numbers(reader) == numbers(joined(log)) == [0]
    assert reader.reason is None  # the next attempt's pieces follow


def test_one_that_has_left_gets_nothing_more(log: StreamLog) -> None:
    reader = joined(log)
    log.leave(reader)
    log.leave(reader)  # once more does no harm
    log.append(b"0")

    assert numbers(reader) == []


class Race:
    """A call and readers of one log, which all start at once."""

    PIECES = 300

    def __init__(self, threads: int) -> None:
        self.log = StreamLog(BEGUN)
        self.start = threading.Barrier(threads)

    def append(self) -> None:
        self.start.wait(PATIENCE_S)
        for number in range(self.PIECES):
            self.log.append(b"%d" % number)

    def read(self) -> list[int]:
        self.start.wait(PATIENCE_S)
        reader = joined(self.log)
        got: list[int] = []
        while len(got) < self.PIECES:
            items = reader.take(PATIENCE_S)
            got += [int(item.raw) for item in items if isinstance(item, Piece)]
        return got + numbers(reader)

    def leave(self) -> list[int]:
        self.start.wait(PATIENCE_S)
        reader = joined(self.log)
        reader.get(PATIENCE_S)
        self.log.leave(reader)
        return numbers(reader)


@pytest.mark.usefixtures("often_switching")
def test_readers_that_come_and_go_while_it_grows_miss_nothing() -> None:
    for _ in range(50):
        race = Race(4)
        with ThreadPoolExecutor(4) as threads:
            readings = [threads.submit(race.read) for _ in range(2)]
            leaving = threads.submit(race.leave)
            threads.submit(race.append).result(PATIENCE_S)
            seen = leaving.result(PATIENCE_S)

            assert [each.result(PATIENCE_S) for each in readings] == [list(range(300))] * 2
            assert seen == list(range(len(seen)))


@pytest.mark.usefixtures("often_switching")
def test_emptying_and_closing_race_with_the_call() -> None:
    for _ in range(100):
        log, reader = StreamLog(BEGUN), Mailbox[Any]()
        log.join(reader)
        with ThreadPoolExecutor(2) as threads:
            appending = threads.submit(lambda log=log: [log.append(b"1") for _ in range(200)])
            ending = threads.submit(lambda log=log: (log.empty(), log.close()))
            appending.result(PATIENCE_S)
            ending.result(PATIENCE_S)
        got = numbers_of_pieces(reader)

        assert got == list(range(len(got)))
        assert log.reserved == 0
        reader.close("over")
        with pytest.raises(Closed):
            reader.get(0)


def test_many_readers_are_only_woken(log: StreamLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_log, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(mailbox, "ALONE_S", 0.0)
    handled: list[Any] = []
    first, second = joined(log), Mailbox[Any](1000)
    first.drain()
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(first.take, PATIENCE_S, handled.append)
        while first._handle is None:
            pass
        log.append(b"0")
        log.join(second)
        log.append(b"1")

        assert list(taken.result(PATIENCE_S)) == [Piece(3, 1, b"1")]
    assert handled == [Piece(3, 0, b"0")]
    assert numbers(second) == [0, 1]
