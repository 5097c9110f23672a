"""The load generator and the model server of the benchmarks count what is really there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.load import Load, chat_body, request
from benchmarks.processes import Stub


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with Stub(tmp_path / "stub.log") as stub:
        yield stub


def call(words: str) -> bytes:
    return request("POST", "/api/chat", chat_body(words))


def test_each_request_is_answered_and_counted(stub: Stub) -> None:
    with Load(stub.port, connections=8) as load:
        first, second = load.send(call("hi"), 100), load.send(call("hi"), 3)

    assert (len(first.latencies), len(second.latencies)) == (100, 3)
    assert min(first.latencies) > 0
    assert first.began < first.ended <= second.began
    assert stub.books()["calls"] == 103


def test_a_paced_stream_has_its_pace_and_all_its_chunks(stub: Stub) -> None:
    with Load(stub.port, connections=2) as load:
        answers = load.send(call("@pace=200/20@"), 4)

    assert min(answers.latencies) >= 19 / 200 * 1e9
    books = stub.books()
    assert (books["chunks"], books["streams"]) == (80, 0)


def test_a_submit_is_timed_from_its_stamp(stub: Stub) -> None:
    with Load(stub.port, connections=1) as load:
        began = load.send(call("hi"), 1).began
        load.send(call(f"@t={began}@"), 1)

    (heard_after_ns,) = stub.books()["heard_after_ns"]
    assert heard_after_ns > 0


def test_what_is_no_request_ends_the_load(stub: Stub) -> None:
    with Load(stub.port, connections=1) as load, pytest.raises(RuntimeError):
        load.send(b"nonsense\r\n\r\n", 1)
