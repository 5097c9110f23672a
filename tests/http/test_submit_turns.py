"""Each client has so many submits in progress; its others wait in order, and nobody else's."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from ollama_queue.http.access import submit_turns
from ollama_queue.http.access.submit_turns import SubmitTurns

PATIENCE_S = 10.0


class Submitter(threading.Thread):
    """Takes a turn, and keeps it until it may go on."""

    def __init__(self, turns: SubmitTurns, client: str, began: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.turns, self.client, self.began = turns, client, began
        self.has_turn, self.may_end = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.turns.turn(self.client):
            self.began()
            self.has_turn.set()
            assert self.may_end.wait(PATIENCE_S)

    def end(self) -> None:
        self.may_end.set()
        self.join(PATIENCE_S)


def test_who_has_many_in_progress_waits_in_order_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, order, waits = SubmitTurns(most=2), list[int](), SimpleQueue[None]()

    class NotedEvent(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.put(None)
            return super().wait(timeout)

    monkeypatch.setattr(submit_turns, "Event", NotedEvent)
    first, second = (Submitter(turns, "many", lambda: None) for _ in range(2))
    assert first.has_turn.wait(PATIENCE_S) and second.has_turn.wait(PATIENCE_S)
    later = []
    for number in range(3):
        later.append(Submitter(turns, "many", lambda number=number: order.append(number)))
        waits.get(timeout=PATIENCE_S)

    other = Submitter(turns, "other", lambda: None)
    assert other.has_turn.wait(PATIENCE_S), "it does not wait for those of another"
    assert order == []
    other.end()
    first.end()
    assert later[0].has_turn.wait(PATIENCE_S)
    assert order == [0]
    for each in (*later, second):
        each.end()
    assert order == [0, 1, 2]
    assert len(turns) == 0, "nothing is kept of those who have none"


def test_a_turn_ends_with_an_error_too() -> None:
    turns = SubmitTurns(most=1)
    for _ in range(2):
        with pytest.raises(KeyError), turns.turn("a"):
            raise KeyError
    assert len(turns) == 0


def test_who_leaves_while_waiting_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = SubmitTurns(most=1)

    class Left(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise ConnectionError

    class LeftTooLate(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            turns._lines["a"].waiting.clear()
            raise ConnectionError

    with turns.turn("a"):
        monkeypatch.setattr(submit_turns, "Event", Left)
        with pytest.raises(ConnectionError), turns.turn("a"):
            pass
        assert not turns._lines["a"].waiting
    assert len(turns) == 0
    turns._enter("a")
    monkeypatch.setattr(submit_turns, "Event", LeftTooLate)
    with pytest.raises(ConnectionError), turns.turn("a"):
        pass
    assert len(turns) == 0, "it has passed on the turn that it got just then"
