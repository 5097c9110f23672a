"""What both clients do over HTTP, without HTTP: any order of answers, losses and repetitions."""

import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue import Chunk, Conflict, OutcomeUnknown, Status, Unavailable, generate_task
from ollama_queue.actors.base.mailbox import Closed
from ollama_queue.actors.routines import steps
from ollama_queue.actors.routines.outage import OUTAGE_PATIENCE_S
from ollama_queue.actors.routines.steps import Routine, Source
from ollama_queue.http.clients import protocol, requests
from ollama_queue.http.clients.protocol import SUBMIT_PATIENCE_S, Open, Send
from ollama_queue.http.clients.requests import KEY, Request
from tests.support.simulated_queue import delivered

seeds = st.integers(0, 2**32 - 1)


class SimulatedServer:
    """One task, whose attempts have so many pieces; the last one completes. It moves on, repeats
    itself, forgets pieces, and cuts connections as chance has it, `trouble` times."""

    def __init__(self, attempts: list[int], chance: random.Random, trouble: int) -> None:
        self._attempts, self._chance, self._trouble = attempts, chance, trouble
        self._attempt, self._made = 1, 0
        self._is_forgotten = False
        self.now = 0.0
        self.opened: list[Source] = []
        self._is_met = False
        self.is_gone = False  # for good

    @property
    def reply(self) -> str:
        return self._text(len(self._attempts), range(self._attempts[-1]))

    def take(self, step: steps.Step[Any]) -> Any:
        match step:
            case steps.Now():
                return self.now
            case steps.Sleep():
                self.now += step.seconds
                if self._attempt < len(self._attempts) and self._chance.random() < 0.3:
                    self._attempt += 1
            case protocol.IsClosed():
                return False
            case Open():
                return self._open(step.request)
            case steps.Receive():
                assert self.opened == [step.source]
                if self.is_gone or self._is_in_trouble():
                    raise Closed("restarted")
                return next(step.source.mailbox)
            case steps.Release():
                self.opened.remove(step.source)
            case _:
                raise AssertionError(f"it takes no {step}")
        return None

    def _is_in_trouble(self) -> bool:
        if self._trouble and self._chance.random() < 0.3:
            self._trouble -= 1
            return True
        return False

    def _open(self, request: Request[Any]) -> Source:
        if self.is_gone or (self._is_met and self._is_in_trouble()):
            raise Unavailable("away")
        self._is_met = True
        place = str(request.headers.get("Last-Event-ID", "0.-1"))
        attempt, number = (int(part) for part in place.split("."))
        source = Source(self._pieces(attempt, number + 1), lambda: None)
        self.opened.append(source)
        return source

    def _pieces(self, shown: int, following: int) -> Iterator[Chunk]:
        """From behind the chunk that the reader has last seen, as the server promises it."""
        while True:
            if shown != self._attempt:
                following = 0
            if shown not in (0, self._attempt):
                yield Chunk("", restart=True)
            shown = self._attempt
            if self._is_in_trouble():
                following = max(0, following - 1)  # what has been read already
            is_moved = False
            while not is_moved and following < self._attempts[shown - 1]:
                if self._is_in_trouble():
                    self._is_forgotten = True
                    break
                yield Chunk(f"{shown}.{following}", self._text(shown, [following]))
                following += 1
                if shown < len(self._attempts) and self._chance.random() < 0.3:
                    self._attempt, is_moved = shown + 1, True
            if self._attempt < len(self._attempts) and not is_moved:
                self._attempt += 1
            elif not is_moved:
                break
        if self._is_forgotten:
            yield Chunk("", restart=True)
            yield Chunk(f"{shown}.0", self.reply)
        yield Chunk("", done=True, status=Status.COMPLETED)

    def _text(self, attempt: int, numbers: Any) -> str:
        return "".join(f"[{attempt}.{number}]" for number in numbers)


attempts = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(attempts, seeds, st.integers(0, 12))
def test_each_piece_comes_once_and_in_order_or_is_taken_back(
    pieces: list[int], seed: int, trouble: int
) -> None:
    server = SimulatedServer(pieces, random.Random(seed), trouble)
    read: list[str] = []
    ended = 0
    for chunk in delivered(protocol.stream_task("t", None), server.take):
        assert not ended
        if chunk.restart:
            read.clear()
        elif chunk.done:
            ended += 1
        else:
            assert chunk.data not in read
            read.append(chunk.data)

    assert ("".join(read), ended) == (server.reply, 1)
    assert server.opened == []


@given(attempts, seeds, st.integers(0, 5))
def test_a_stream_that_is_left_lets_go_of_its_connection(
    pieces: list[int], seed: int, read: int
) -> None:
    server = SimulatedServer(pieces, random.Random(seed), 3)
    chunks = delivered(protocol.stream_task("t", None), server.take)
    for _ in range(read):
        next(chunks, None)
    chunks.close()

    assert server.opened == []


def test_a_stream_whose_server_stays_away_ends() -> None:
    server = SimulatedServer([3], random.Random(1), 0)
    chunks = delivered(protocol.stream_task("t", None), server.take)
    next(chunks)
    server.is_gone = True

    with pytest.raises(Unavailable, match="the queue is still unavailable"):
        next(chunks)
    assert OUTAGE_PATIENCE_S <= server.now <= OUTAGE_PATIENCE_S + 1
    assert server.opened == []


def test_a_stream_of_a_server_that_was_never_there_says_so_at_once() -> None:
    server = SimulatedServer([3], random.Random(1), 0)
    server.is_gone = True

    with pytest.raises(Unavailable, match="away"):
        next(delivered(protocol.stream_task("t", None), server.take))
    assert server.now == 0.0


# --- requests -----------------------------------------------------------------------------------

NEW = generate_task("m", "hi")
OUTCOMES = {
    "lost": OutcomeUnknown("lost"),
    "away": Unavailable("away"),
    "refused": Conflict("refused"),
    "answered": None,
}


class Answers:
    """What becomes of a request, time after time; each takes a second."""

    def __init__(self, outcomes: list[str], is_closed: bool = False) -> None:
        self._outcomes, self._is_closed = iter(outcomes), is_closed
        self.sent: list[Request[Any]] = []
        self.now = 0.0

    def take(self, step: steps.Step[Any]) -> Any:
        match step:
            case steps.Now():
                return self.now
            case steps.Sleep():
                self.now += step.seconds
                return None
            case protocol.IsClosed():
                return self._is_closed
            case Send():
                self.sent.append(step.request)
                self.now += 1.0
                if (error := OUTCOMES[next(self._outcomes, "answered")]) is not None:
                    raise error
                return httpx.Response(
                    201, json={"task_id": "1", "status": "pending", "position": 0}
                )
        raise AssertionError(f"it takes no {step}")


def outcome(routine: Routine[Any], answers: Answers) -> str:
    try:
        list(delivered(routine, answers.take))
    except Exception as error:
        (name,) = [name for name, each in OUTCOMES.items() if each is error]
        return name
    return "answered"


@given(st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=30), st.booleans())
def test_a_submit_is_repeated_until_its_outcome_is_known(
    outcomes: list[str], is_closed: bool
) -> None:
    answers = Answers(outcomes, is_closed)
    ending = outcome(protocol.ask(requests.submit(NEW, None)), answers)
    seen = [*outcomes, "answered"][: len(answers.sent)]

    assert len({request.headers[KEY] for request in answers.sent}) == 1
    if is_closed or seen[0] != "lost":
        assert ending == seen[0] and len(seen) == 1
    else:  # nobody who comes later and finds no server knows what has become of it
        assert set(seen[:-1]) <= {"lost", "away"}
        assert ending == (seen[-1] if seen[-1] in ("answered", "refused") else "lost")
        assert answers.now <= SUBMIT_PATIENCE_S + 3
        if ending == "lost":
            assert answers.now >= SUBMIT_PATIENCE_S


@given(st.lists(st.sampled_from(["lost", "away", "answered"]), max_size=5))
def test_what_is_not_safe_twice_is_sent_once(outcomes: list[str]) -> None:
    answers = Answers(outcomes)
    ending = outcome(protocol.ask(Request(method="POST", path="/", kind=object)), answers)

    assert (len(answers.sent), ending) == (1, [*outcomes, "answered"][0])


def test_a_read_is_repeated_for_a_short_while() -> None:
    answers = Answers(["lost", "lost", "lost"])

    assert outcome(protocol.ask(Request(method="GET", path="/", kind=object)), answers) == "lost"
    assert len(answers.sent) == 2
