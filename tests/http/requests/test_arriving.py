"""Large bodies that arrive at the same time are bounded together."""

import io

import pytest

from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.http.requests import arriving, reading
from ollama_queue.http.requests.arriving import SMALL, ArrivingBodies
from ollama_queue.http.requests.exchange import Exchange, enter

LARGE = 4 * SMALL


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> ArrivingBodies:
    made = ArrivingBodies(LARGE)
    monkeypatch.setattr(reading, "ARRIVING", made)
    return made


def request(size: int) -> None:
    """A request with a body of this size is the current one."""
    headers = {"content-length": str(size)}
    enter(Exchange("POST", "/api/tasks", "", headers, io.BytesIO(b" " * size)))


def test_one_too_many_is_refused_and_takes_nothing(bodies: ArrivingBodies) -> None:
    request(LARGE)
    first = reading.pieces(10 * LARGE)
    for _ in range(3):
        next(first)
    assert bodies.held == 2 * SMALL
    request(LARGE)
    second = reading.pieces(10 * LARGE)

    with pytest.raises(Unavailable, match="together are arriving") as refused:
        list(second)

    assert refused.value.retry_after_s
    assert bodies.held == 2 * SMALL
    assert len(list(first)) == 1
    assert bodies.held == 0


def test_one_that_is_given_up_is_not_counted_any_more(bodies: ArrivingBodies) -> None:
    request(LARGE)
    arrives = reading.pieces(10 * LARGE)
    next(arrives), next(arrives)
    assert bodies.held
    arrives.close()

    assert bodies.held == 0


def test_small_bodies_and_those_that_pass_through_are_not_counted(bodies: ArrivingBodies) -> None:
    request(SMALL)
    assert sum(map(len, reading.pieces(LARGE))) == SMALL
    request(20 * LARGE)
    for _ in reading.passing_pieces(20 * LARGE):
        assert bodies.held == 0


def test_the_bound_leaves_room_for_the_largest_batches() -> None:
    assert arriving.MOST >= 4 * (256 << 20)
