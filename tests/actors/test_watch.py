"""Watching a task: a real bus and a real disk, and the test in the place of the worker."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ollama_queue.actors import event_bus, watch
from ollama_queue.actors.actor import Ref, ask, start, stop, tell
from ollama_queue.actors.core.errors import NotFound, OutcomeUnknown, Unavailable
from ollama_queue.actors.core.lifecycle import become
from ollama_queue.actors.core.messages import Chunks, Commit, Farewell, Get, Unsubscribe
from ollama_queue.actors.core.records import Chunk, Status
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.persistence import Persistence, Stored
from ollama_queue.actors.pool import ThreadPool
from ollama_queue.actors.rocks import Store
from ollama_queue.actors.switchboard import Generation, Switchboard
from tests.actors.standins import (
    PATIENCE_S,
    START,
    Recorder,
    a_record,
    an_attempt,
    completed,
    insert,
    spec_of,
    started,
    task_id,
)

TASK = task_id(1)
WHOLE = {"response": "Hello"}


class House:
    """Bus and disk of one generation, behind a switchboard."""

    def __init__(self, folder: Path) -> None:
        self.switchboard = Switchboard()
        self.bus: Ref = start(EventBus, print)
        self.persistence: Ref = start(
            Persistence,
            print,
            open_store=lambda: Store(str(folder), None),
            pools=lambda: (ThreadPool("sync"), ThreadPool("scan")),
            bus=self.bus,
        )
        self.connect(self.bus)
        self.commit(insert(1))

    def connect(self, bus: Ref, persistence: Ref | None = None) -> None:
        found: Any = Recorder()
        self.switchboard.connect(Generation(found, persistence or self.persistence, bus))

    def commit(self, *saves: Any) -> None:
        ask(self.persistence, Commit(saves, START))

    def retry(self, attempt: int) -> None:
        """The attempt fails, and the next begins."""
        ended = an_attempt(attempt, "cut")
        self.commit(
            become(TASK, Status.RUNNING, Status.PENDING, ended=ended), started(1, attempt + 1)
        )

    def send(self, attempt: int, first: int, *pieces: Any, bus: Ref | None = None) -> None:
        sender = Recorder()
        tell(bus or self.bus, Chunks(sender, TASK, attempt, first, pieces))

    def stream(self, timeout: float = PATIENCE_S) -> Iterator[Chunk]:
        return watch.stream(self.switchboard, TASK, timeout)

    def close(self) -> None:
        for ref in (self.persistence, self.bus):
            stop(ref, PATIENCE_S)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def shown(chunks: Iterator[Chunk]) -> list[tuple[str, Any]]:
    """Ids and data; `restart` and `done` in the place of data."""
    return [
        (c.id, "restart" if c.restart else (c.error or "done") if c.done else c.data)
        for c in chunks
    ]


# --- wait ---------------------------------------------------------------------------------------


def test_waiting_ends_with_the_task(house: House) -> None:
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        house.commit(started(1))
        house.commit(completed(1))

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED


def test_who_comes_after_the_end_does_not_wait(house: House) -> None:
    house.commit(started(1), completed(1))

    assert watch.wait(house.switchboard, TASK, 0).record.status is Status.COMPLETED


def test_waiting_has_its_limit(house: House) -> None:
    with pytest.raises(TimeoutError):
        watch.wait(house.switchboard, TASK, 0.01)


def test_nobody_waits_for_an_unknown_task(house: House) -> None:
    with pytest.raises(NotFound):
        watch.wait(house.switchboard, task_id(2), PATIENCE_S)


def test_waiting_outlives_a_reboot(house: House) -> None:
    other = start(EventBus, print)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        house.switchboard.disconnect(OutcomeUnknown("restarts"))
        stop(house.bus, PATIENCE_S)  # closes its mailboxes: `restarted`
        house.commit(started(1), completed(1))
        house.connect(other)

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED
    stop(other, PATIENCE_S)


def test_waiting_outlives_a_question_that_meets_the_reboot(house: House) -> None:
    dead = start(EventBus, print)
    stop(dead, PATIENCE_S)
    persistence = house.persistence
    house.connect(dead, persistence)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(watch.wait, house.switchboard, TASK, PATIENCE_S)
        reading = thread.submit(list, house.stream())
        house.commit(started(1), completed(1))
        house.connect(house.bus)

        assert waiting.result(PATIENCE_S).record.status is Status.COMPLETED
        assert shown(reading.result(PATIENCE_S)) == [("1.0", WHOLE), ("1.1", "done")]


def test_nobody_waits_for_a_queue_that_has_given_up(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    reader = house.stream()
    next(reader)
    house.switchboard.disconnect(Unavailable("the queue has given up: it crashed 4 times"))
    tell(house.bus, Farewell("restarted"))

    with pytest.raises(Unavailable, match="given up"):
        next(reader)


def test_waiting_ends_with_the_queue(house: House) -> None:
    reader = house.stream()
    house.commit(started(1))
    house.send(1, 0, "a")
    assert next(reader).data == "a"
    tell(house.bus, Farewell("shutdown"))

    with pytest.raises(Unavailable, match="shutting down"):
        next(reader)


# --- stream -------------------------------------------------------------------------------------


def test_each_piece_comes_once_and_in_order(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "a", "b")
    reader = house.stream()
    first = next(reader)
    house.send(1, 2, "c")
    house.send(1, 3, "d")
    house.commit(completed(1))

    assert first == Chunk("1.0", "a")
    assert shown(reader) == [("1.1", "b"), ("1.2", "c"), ("1.3", "d"), ("1.4", "done")]


def test_two_readers_get_the_same(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    readers = [house.stream(), house.stream()]
    firsts = [next(reader) for reader in readers]
    house.send(1, 1, "b")
    house.commit(completed(1))

    assert firsts == [Chunk("1.0", "a")] * 2
    assert shown(readers[0]) == shown(readers[1]) == [("1.1", "b"), ("1.2", "done")]


def test_who_comes_after_the_end_gets_all_of_it(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "a", "b")
    house.commit(completed(1))

    assert shown(house.stream()) == [("1.0", "a"), ("1.1", "b"), ("1.2", "done")]


def test_what_is_no_longer_kept_comes_as_one_piece(house: House) -> None:
    house.commit(started(1), completed(1))

    assert shown(house.stream()) == [("1.0", WHOLE), ("1.1", "done")]


def test_who_comes_late_to_a_long_reply_gets_all_of_it_at_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "BUFFER_BYTES", 2)
    house.commit(started(1))
    early = house.stream()
    house.send(1, 0, "a")
    assert next(early).data == "a"
    house.send(1, 1, "bcd")
    assert next(early).data == "bcd"
    late = house.stream(timeout=0.05)
    with pytest.raises(TimeoutError):
        next(late)

    late = house.stream()
    house.send(1, 2, "e")
    house.commit(completed(1))

    assert shown(early) == [("1.2", "e"), ("1.3", "done")]
    assert shown(late) == [("1.0", WHOLE), ("1.1", "done")]


def test_a_failed_attempt_is_taken_back(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "x", "y")
    reader = house.stream()
    assert [next(reader).data, next(reader).data] == ["x", "y"]
    house.retry(1)
    house.send(2, 0, "a")
    house.send(1, 2, "of the old attempt")
    house.commit(completed(1, attempt=2))

    assert shown(reader) == [("2.0", "restart"), ("2.0", "a"), ("2.1", "done")]


def test_a_failed_task_ends_with_its_words(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "x")
    reader = house.stream()
    next(reader)
    house.commit(become(TASK, Status.RUNNING, Status.FAILED, error="the model runner has died"))

    assert shown(reader) == [("1.1", "the model runner has died")]


def test_a_cancelled_task_ends(house: House) -> None:
    house.commit(become(TASK, Status.PENDING, Status.CANCELLED))

    assert shown(house.stream()) == [("0.0", "cancelled")]


def test_a_silent_stream_has_its_limit(house: House) -> None:
    with pytest.raises(TimeoutError):
        next(house.stream(timeout=0.01))


def test_a_reader_that_leaves_is_forgotten(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    reader = house.stream()
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    house.send(1, 1, "b")

    assert shown(iter([next(house.stream())])) == [("1.0", "a")]


def test_a_reader_that_is_too_slow_is_told_so(house: House) -> None:
    house.commit(started(1))
    house.send(1, 0, *range(100_001))  # more than its mailbox holds
    with pytest.raises(Unavailable, match="too slow"):
        shown(house.stream())


class Slow:
    """Takes the thanks of the bus only when the bus has got a reader's farewell."""

    def __init__(self) -> None:
        self.actor_inbox = self
        self.may_go = threading.Event()

    def put(self, envelope: Any) -> None:
        assert self.may_go.wait(PATIENCE_S)


class Porter:
    """Hands on the mail for the bus, and opens the gate for a farewell."""

    def __init__(self, bus: Ref, slow: Slow) -> None:
        self.actor_inbox = self
        self.bus, self.slow = bus, slow

    def put(self, envelope: Any) -> None:
        inbox: Any = self.bus.actor_inbox
        inbox.put(envelope)
        if isinstance(envelope.message, Unsubscribe):
            self.slow.may_go.set()


def test_the_end_waits_for_pieces_that_are_on_their_way_to_the_bus(house: House) -> None:
    """The disk may know of the end while the bus has yet to read the last pieces before it."""
    record = a_record(1, status=Status.COMPLETED, attempt=1)
    slow = Slow()

    def answer(_: Get) -> Stored:
        tell(house.bus, Chunks(slow, TASK, 1, 1, ("b",)))
        house.send(1, 2, "c")
        return Stored(record, spec_of(1), b"{}")

    house.send(1, 0, "a")
    porter: Any = Porter(house.bus, slow)
    persistence: Any = Recorder(answer=answer)
    house.connect(porter, persistence)

    assert shown(house.stream()) == [("1.0", "a"), ("1.1", "b"), ("1.2", "c"), ("1.3", "done")]
