"""Reading a task's reply: each piece once and in order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_queue.actors.base import stream_log
from ollama_queue.actors.base.actor import Ref
from ollama_queue.actors.base.stream_log import LEAST_BYTES
from ollama_queue.actors.core.messages import GetTask, StreamGrew, Unsubscribe
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.lifecycle import become
from ollama_queue.actors.core.model.tasks import Chunk, Status
from tests.support.harness.event_bus import TASK, WHOLE, EventBusHarness, shown
from tests.support.recorders import Recorder, a_record, completed, spec_of, started


@pytest.fixture
def house(tmp_path: Path) -> Iterator[EventBusHarness]:
    made = EventBusHarness(tmp_path)
    yield made
    made.close()


def test_each_piece_comes_once_and_in_order(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "a", "b")
    reader = house.stream()
    first = next(reader)
    house.send(1, 2, "c")
    house.send(1, 3, "d")
    house.commit(completed(1))

    assert first == Chunk("1.0", "a")
    assert shown(reader) == [("1.1", "b"), ("1.2", "c"), ("1.3", "d"), ("1.4", "done")]


def test_two_readers_get_the_same(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    readers = [house.stream(), house.stream()]
    firsts = [next(reader) for reader in readers]
    house.send(1, 1, "b")
    house.commit(completed(1))

    assert firsts == [Chunk("1.0", "a")] * 2
    assert shown(readers[0]) == shown(readers[1]) == [("1.1", "b"), ("1.2", "done")]


def test_who_comes_after_the_end_gets_all_of_it(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "a", "b")
    house.commit(completed(1))

    assert shown(house.stream()) == [("1.0", "a"), ("1.1", "b"), ("1.2", "done")]


def test_what_is_no_longer_kept_comes_as_one_piece(house: EventBusHarness) -> None:
    house.commit(started(1), completed(1))

    assert shown(house.stream()) == [("1.0", WHOLE), ("1.1", "done")]


def test_who_comes_late_to_a_long_reply_gets_all_of_it_at_the_end(
    house: EventBusHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", LEAST_BYTES)
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


def test_a_failed_attempt_is_taken_back(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "x", "y")
    reader = house.stream()
    assert [next(reader).data, next(reader).data] == ["x", "y"]
    house.retry(1)
    house.send(2, 0, "a")
    house.send(1, 2, "of the old attempt")
    house.commit(completed(1, attempt=2))

    assert shown(reader) == [("2.0", "restart"), ("2.0", "a"), ("2.1", "done")]


def test_a_failed_task_ends_with_its_words(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "x")
    reader = house.stream()
    next(reader)
    house.commit(become(TASK, Status.RUNNING, Status.FAILED, error="the model runner has died"))

    assert shown(reader) == [("1.1", "the model runner has died")]


def test_a_cancelled_task_ends(house: EventBusHarness) -> None:
    house.commit(become(TASK, Status.PENDING, Status.CANCELLED))

    assert shown(house.stream()) == [("0.0", "cancelled")]


def test_a_silent_stream_has_its_limit(house: EventBusHarness) -> None:
    with pytest.raises(TimeoutError):
        next(house.stream(timeout=0.01))


def test_a_reader_that_leaves_is_forgotten(house: EventBusHarness) -> None:
    house.commit(started(1))
    house.send(1, 0, "a")
    reader = house.stream()
    next(reader)
    reader.close()
    house.send(1, 1, "b")

    assert shown(iter([next(house.stream())])) == [("1.0", "a")]


def test_a_reader_that_is_too_slow_is_told_so(
    house: EventBusHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", 1 << 30)
    house.commit(started(1))
    house.send(1, 0, *range(100_001))  # more than its mailbox holds
    with pytest.raises(Unavailable, match="too slow"):
        shown(house.stream())


class Porter:
    """Hands on the mail for the bus, but a log only just before a reader's farewell."""

    def __init__(self, bus: Ref) -> None:
        self.actor_inbox = self
        self.bus = bus
        self.held: list[Any] = []

    def put(self, envelope: Any) -> None:
        inbox: Any = self.bus.actor_inbox
        if isinstance(envelope.message, StreamGrew):
            self.held.append(envelope)
            return
        if isinstance(envelope.message, Unsubscribe):
            while self.held:
                inbox.put(self.held.pop(0))
        inbox.put(envelope)


def test_the_end_waits_for_a_log_that_is_on_its_way_to_the_bus(house: EventBusHarness) -> None:
    """The disk may know of the end while the bus has yet to read that the reply has begun."""
    record = a_record(1, status=Status.COMPLETED, attempt=1)
    porter: Any = Porter(house.bus)

    def answer(_: GetTask) -> StoredTask:
        house.send(1, 0, "a", "b", bus=porter)
        house.send(1, 2, "c", bus=porter)
        return StoredTask(record, spec_of(1), b"{}")

    persistence: Any = Recorder(answer=answer)
    house.connect(porter, persistence)

    assert shown(house.stream()) == [("1.0", "a"), ("1.1", "b"), ("1.2", "c"), ("1.3", "done")]


def test_pieces_come_while_the_disk_hangs(house: EventBusHarness) -> None:
    persistence: Any = Recorder()  # answers nothing
    house.connect(house.bus, persistence)
    house.send(1, 0, "a")

    assert next(house.stream()) == Chunk("1.0", "a")
