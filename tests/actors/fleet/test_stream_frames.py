"""A stream as one server sends it to another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.messages import StreamEnded
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece
from ollama_queue.actors.fleet.stream_frames import HEARTBEAT, frame, frames

ATTEMPTS, NUMBERS = st.integers(1, 1000), st.integers(0, 2**32 - 1)
ITEMS = st.one_of(
    st.builds(AttemptBegun, ATTEMPTS, st.text(max_size=5), st.floats(0, 1e9)),
    st.builds(Piece, ATTEMPTS, NUMBERS, st.binary(max_size=40)),
    st.builds(StreamEnded, st.just("a"), ATTEMPTS),
)


@given(st.lists(ITEMS), st.lists(st.integers(1, 30), min_size=1))
def test_items_come_as_they_were_sent_however_they_are_cut(
    items: list[AttemptBegun | Piece | StreamEnded], lengths: list[int]
) -> None:
    sent = HEARTBEAT.join([b"", *map(frame, items), b""])
    pieces, start = [], 0
    while start < len(sent):
        length = lengths[len(pieces) % len(lengths)]
        pieces.append(sent[start : start + length])
        start += length

    assert list(frames("a", pieces)) == items


@given(st.binary(min_size=13))
def test_other_bytes_are_refused_or_wait_for_more(sent: bytes) -> None:
    try:
        list(frames("a", [sent]))
    except ValueError:
        return


def test_a_length_without_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="no stream"):
        list(frames("a", [b"\xff" * 20]))
