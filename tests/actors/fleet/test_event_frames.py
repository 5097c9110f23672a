"""Events and places of calls on their way to another server: in order, however they are cut."""

import pytest
from msgspec.structs import replace

from ollama_queue.actors.core.messages import CallsPlaced
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.plan.acceptance import accept
from ollama_queue.actors.fleet.event_frames import EventFrame, event_frame, event_frames
from tests.support.plans import GREETING, NOW, at


def event(seq: int) -> EventRecord:
    return EventRecord("task_started", replace(accept("t", GREETING, seq, NOW)), at(0), seq)


def test_items_keep_their_order() -> None:
    placed = CallsPlaced(("x:t:1",), ("x:u:1",))

    data = event_frame(3, [event(4), event(5), placed, event(6)])

    assert [*event_frames([data])] == [
        EventFrame(3, (event(4), event(5))),
        EventFrame(5, (), placed),
        EventFrame(5, (event(6),)),
    ]


def test_nothing_is_a_sign_of_life() -> None:
    assert [*event_frames([event_frame(7)])] == [EventFrame(7)]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_frames_come_in_any_pieces(size: int) -> None:
    data = event_frame(1, [event(2)]) + event_frame(2, [CallsPlaced(are_all=True)])
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    assert [*event_frames(pieces)] == [
        EventFrame(1, (event(2),)),
        EventFrame(2, (), CallsPlaced(are_all=True)),
    ]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="no events"):
        next(event_frames([b"\xff" * 8]))
