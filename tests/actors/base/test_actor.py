"""The base class: how it replies, and how it fails."""

import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from ollama_queue.actors.base.actor import Ping, Ref, ask, ask_all, start, stop, tell
from ollama_queue.actors.core.model.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from tests.support.recorders import PATIENCE_S, Recorder, asked
from tests.support.scripted_actor import Puppet, hold, raising

CRASHES = [RuntimeError("broken"), SystemExit(3), GeneratorExit(), KeyboardInterrupt()]


@pytest.fixture
def reports() -> Queue[str]:
    return Queue()


@pytest.fixture
def puppet(reports: Queue[str]) -> Iterator[Ref]:
    ref = start(Puppet, reports.put, Queue())
    yield ref
    stop(ref, PATIENCE_S)


# --- replies ------------------------------------------------------------------------------------


def test_what_handle_returns_is_the_reply(puppet: Ref) -> None:
    assert ask(puppet, lambda me: 42) == 42


def test_a_queue_error_asked_for_is_answered_and_the_actor_lives(puppet: Ref) -> None:
    with pytest.raises(Conflict, match="not now"):
        ask(puppet, raising(Conflict("not now")))

    assert ask(puppet, lambda me: "alive") == "alive"


def test_a_queue_error_nobody_asked_for_is_logged_and_the_actor_lives(
    puppet: Ref, caplog: pytest.LogCaptureFixture
) -> None:
    tell(puppet, raising(NotFound("there is no such thing")))

    assert ask(puppet, lambda me: "alive") == "alive"
    assert "there is no such thing" in caplog.text


def test_a_reply_taken_over_is_given_later(puppet: Ref) -> None:
    promise = asked(puppet, hold)
    ask(puppet, Ping())
    assert not promise.is_kept

    ask(puppet, lambda me: me.keep(me.taken, "late"))

    assert promise.get(timeout=PATIENCE_S) == "late"


def test_a_reply_taken_over_can_be_refused(puppet: Ref) -> None:
    promise = asked(puppet, hold)
    ask(puppet, lambda me: me.keep(me.taken, NotFound("no")))

    with pytest.raises(NotFound):
        promise.get(timeout=PATIENCE_S)


def test_a_told_message_has_no_reply_to_take_over(puppet: Ref) -> None:
    tell(puppet, hold)

    assert ask(puppet, lambda me: me.taken) is None
    assert ask(puppet, lambda me: me.keep(None, "for nobody")) is None


def test_the_question_in_hand_is_passed_on(puppet: Ref, reports: Queue[str]) -> None:
    other = start(Puppet, reports.put)

    def passing(me: Puppet) -> None:
        me.pass_on(other, lambda he: he.actor_urn, me.later(passing))

    assert ask(puppet, passing) == other.actor_urn
    stop(other, PATIENCE_S)


def test_a_reply_taken_over_is_passed_on(puppet: Ref) -> None:
    other = Recorder(answer=lambda message: f"{message} back")
    promise = asked(puppet, hold)

    ask(puppet, lambda me: me.pass_on(other, "there", me.taken))

    assert promise.get(timeout=PATIENCE_S) == "there back"


def test_a_question_passed_on_to_a_dead_actor_is_refused(puppet: Ref, reports: Queue[str]) -> None:
    dead = start(Puppet, reports.put)
    stop(dead, PATIENCE_S)

    def passing(me: Puppet) -> None:
        me.pass_on(dead, lambda he: 1, me.later(passing))

    with pytest.raises(Unavailable, match="stopped"):
        ask(puppet, passing)
    assert ask(puppet, lambda me: "alive") == "alive"


@pytest.mark.parametrize("answer", ["well", Conflict("not now")])
def test_an_answer_that_nobody_waits_for_comes_as_a_message(
    puppet: Ref, reports: Queue[str], answer: str | Conflict
) -> None:
    heard: Queue[object] = Queue()
    other = start(Puppet, reports.put)
    question = raising(answer) if isinstance(answer, Conflict) else lambda he: answer

    tell(puppet, lambda me: me.send_for(other, question, lambda reply: lambda _: heard.put(reply)))

    reply = heard.get(timeout=PATIENCE_S)
    assert type(reply) is type(answer)
    assert str(reply) == str(answer)


def test_a_dead_actor_answers_that_it_has_stopped(puppet: Ref, reports: Queue[str]) -> None:
    heard: Queue[object] = Queue()
    other = start(Puppet, reports.put)
    stop(other, PATIENCE_S)

    tell(puppet, lambda me: me.send_for(other, hold, lambda reply: lambda _: heard.put(reply)))

    assert isinstance(heard.get(timeout=PATIENCE_S), Unavailable)


def test_no_answer_in_time_is_an_unknown_outcome(puppet: Ref) -> None:
    with pytest.raises(OutcomeUnknown, match=r"within 0\.01 s"):
        ask(puppet, hold, timeout=0.01)


def test_many_are_asked_at_once_and_answered_in_order(puppet: Ref) -> None:
    answers = ask_all(puppet, [lambda me: 1, raising(Conflict("no")), lambda me: 3], PATIENCE_S)

    assert (answers[0], answers[2]) == (1, 3)
    assert isinstance(answers[1], Conflict)
    assert ask_all(puppet, []) == []


def test_what_many_have_no_answer_to_in_time_is_unknown(puppet: Ref) -> None:
    (answer,) = ask_all(puppet, [hold], timeout=0.01)

    assert isinstance(answer, OutcomeUnknown)
    assert "within 0.01 s" in answer.message


def test_many_are_asked_before_the_first_has_answered(puppet: Ref) -> None:
    """Here the second answers the first."""
    answers = ask_all(puppet, [hold, lambda me: me.keep(me.taken, "kept")], PATIENCE_S)

    assert answers == ["kept", None]


# --- failure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_ends_this_actor_alone(
    puppet: Ref, reports: Queue[str], error: BaseException
) -> None:
    doomed = start(Puppet, reports.put)
    taken = asked(doomed, hold)
    gate = threading.Event()
    tell(doomed, lambda me: gate.wait(PATIENCE_S))
    in_hand = asked(doomed, raising(error))
    unread = asked(doomed, lambda me: "never read")
    gate.set()

    for promise in (taken, in_hand, unread):
        with pytest.raises(OutcomeUnknown, match="internal error"):
            promise.get(timeout=PATIENCE_S)
    with pytest.raises(OutcomeUnknown):
        ask(doomed, Ping())
    assert reports.get(timeout=PATIENCE_S) == f"{type(error).__name__}: {error}"
    assert ask(puppet, lambda me: "alive") == "alive"
    assert reports.empty()


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_a_crash_while_closing_leaves_nobody_waiting(
    reports: Queue[str], error: BaseException
) -> None:
    doomed = start(Puppet, reports.put, on_close=lambda: raising(error)(None))
    taken = asked(doomed, hold)

    tell(doomed, raising(RuntimeError("first")))

    with pytest.raises(OutcomeUnknown):
        taken.get(timeout=PATIENCE_S)
    assert reports.get(timeout=PATIENCE_S) == "RuntimeError: first"
    assert reports.empty()


def test_a_crash_closes_what_was_opened(reports: Queue[str]) -> None:
    closed = threading.Event()
    doomed = start(Puppet, reports.put, on_close=closed.set)

    tell(doomed, raising(RuntimeError("broken")))

    assert closed.wait(PATIENCE_S)


def test_a_failing_start_reaches_who_starts() -> None:
    class Closed(Puppet):
        def on_start(self) -> None:
            raise Unavailable("the folder is in use by process 1")

    with pytest.raises(Unavailable, match="in use by process 1"):
        start(Closed, lambda text: None)


def test_a_start_that_breaks_is_reported_and_ends() -> None:
    reports: Queue[str] = Queue()

    class Broken(Puppet):
        def on_start(self) -> None:
            raise SystemExit("no")

    with pytest.raises(OutcomeUnknown):
        start(Broken, reports.put)
    assert reports.get(timeout=PATIENCE_S) == "SystemExit: no"
