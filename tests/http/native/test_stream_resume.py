"""Going on behind a chunk: no gap, no repetition, or a restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Invalid
from ollama_queue.actors.base import stream_log
from ollama_queue.actors.base.stream_log import LEAST_BYTES
from ollama_queue.actors.core.messages import GetTask
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.model.tasks import Chunk, Status
from ollama_queue.actors.embedded import watch
from tests.support.harness.event_bus import TASK, WHOLE, EventBusHarness, shown
from tests.support.recorders import PATIENCE_S, Recorder, a_record, completed, spec_of, started


@pytest.fixture
def house(tmp_path: Path) -> Iterator[EventBusHarness]:
    made = EventBusHarness(tmp_path)
    made.commit(started(1))
    yield made
    made.close()


def resumed(house: EventBusHarness, after: str) -> watch.ChunkStream:
    place = watch.place(after)
    return watch.ChunkStream(watch.PieceStream(house.switchboard, TASK, PATIENCE_S, after=place))


def test_it_goes_on_behind_a_chunk_that_is_still_buffered(house: EventBusHarness) -> None:
    house.send(1, 0, "a", "b")
    reader = resumed(house, "1.0")
    first = next(reader)
    house.send(1, 2, "c")
    house.commit(completed(1))

    assert first == Chunk("1.1", "b")
    assert shown(reader) == [("1.2", "c"), ("1.3", "done")]


def test_behind_the_last_chunk_only_the_end_comes(house: EventBusHarness) -> None:
    house.send(1, 0, "a", "b")
    house.commit(completed(1))

    assert shown(resumed(house, "1.1")) == [("1.2", "done")]


def test_what_is_no_longer_buffered_comes_whole_behind_a_restart(house: EventBusHarness) -> None:
    house.commit(completed(1))

    assert shown(resumed(house, "1.3")) == [("1.0", "restart"), ("1.0", WHOLE), ("1.1", "done")]


def test_a_gap_is_never_passed_over(
    house: EventBusHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", LEAST_BYTES)
    house.send(1, 0, "abc")
    house.send(1, 1, "d")
    reader = resumed(house, "1.0")
    house.send(1, 2, "e")
    house.commit(completed(1))

    assert shown(reader) == [("1.0", "restart"), ("1.0", WHOLE), ("1.1", "done")]


def test_an_unbuffered_stream_that_goes_on_just_there_is_joined(
    house: EventBusHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "LOG_BYTES", LEAST_BYTES)
    house.send(1, 0, "abc")
    pieces = watch.PieceStream(house.switchboard, TASK, after=(1, 0), heartbeat=0.01)
    assert next(pieces) == []
    house.send(1, 1, "d")
    house.commit(completed(1))

    assert shown(watch.ChunkStream(pieces)) == [("1.1", "d"), ("1.2", "done")]


def test_another_attempt_takes_back_the_old_one(house: EventBusHarness) -> None:
    house.send(1, 0, "x")
    house.retry(1)
    house.send(2, 0, "a")
    house.commit(completed(1, attempt=2))

    assert shown(resumed(house, "1.0")) == [("2.0", "restart"), ("2.0", "a"), ("2.1", "done")]


@pytest.mark.parametrize("place", ["1.999999999", "9.0"])
def test_a_place_that_never_was_gets_the_whole(house: EventBusHarness, place: str) -> None:
    house.send(1, 0, "a")
    house.commit(completed(1))

    assert shown(resumed(house, place)) == [("1.0", "restart"), ("1.0", WHOLE), ("1.1", "done")]


@pytest.mark.parametrize("place", ["", "1", "1.", ".1", "a.b", "1.2.3", "-1.0", "1.0\n", "1.١"])
def test_what_is_no_place_is_invalid(place: str) -> None:
    with pytest.raises(Invalid) as refused:
        watch.place(place)
    assert refused.value.field == "Last-Event-ID"


def test_a_reader_may_be_ended_from_another_thread(house: EventBusHarness) -> None:
    reader = watch.ChunkStream(watch.PieceStream(house.switchboard, TASK, PATIENCE_S))
    house.send(1, 0, "a")
    assert next(reader) == Chunk("1.0", "a")
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, reader)
        reader.close()

        assert rest.result(PATIENCE_S) == []
    assert list(reader) == []


def test_pieces_that_had_no_room_at_the_end_come_whole(
    house: EventBusHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mailbox overflows between the look at the disk and the end."""
    monkeypatch.setattr(stream_log, "LOG_BYTES", 1 << 30)
    record = a_record(1, status=Status.COMPLETED, attempt=1)

    def answer(_: GetTask) -> StoredTask:
        house.send(1, 0, *range(100_001), bus=house.bus)
        return StoredTask(record, spec_of(1), b'{"response": "Hello"}')

    persistence: Any = Recorder(answer=answer)
    house.connect(house.bus, persistence)
    chunks = list(house.stream())

    assert chunks[-3:] == [
        Chunk("1.0", restart=True),
        Chunk("1.0", WHOLE),
        Chunk("1.1", done=True, status=Status.COMPLETED),
    ]
