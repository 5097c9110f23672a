"""The base class: replies, failure, stopping and time. A puppet's messages are what it is to do."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Queue
from typing import Any

import pykka
import pytest

from ollama_queue.actors.actor import Actor, Ref, SignOfLife, ask, start, stop, tell
from ollama_queue.actors.core.errors import (
    Conflict,
    NotFound,
    OutcomeUnknown,
    QueueError,
    Unavailable,
)
from ollama_queue.actors.core.messages import Wake
from ollama_queue.actors.inbox import Promise
from tests.actors.standins import PATIENCE_S, Recorder, asked
from tests.servers import ROOT

CRASHES = [RuntimeError("broken"), SystemExit(3), GeneratorExit(), KeyboardInterrupt()]


class Puppet(Actor):
    """Does what it is told: each message is a function of the actor."""

    def __init__(self, report: Any, wakes: Any = None, on_stop: Any = None) -> None:
        super().__init__(report)
        self.wakes, self.at_stop = wakes, on_stop
        self.taken: Promise | None = None

    def handle(self, message: Any) -> Any:
        return self.wakes.put(message) if isinstance(message, Wake) else message(self)

    def on_stop(self) -> None:
        if self.at_stop is not None:
            self.at_stop()


def raising(error: BaseException) -> Any:
    def act(_: Actor) -> None:
        raise error

    return act


def hold(puppet: Any) -> None:
    puppet.taken = puppet.later()


@pytest.fixture
def reports() -> Queue[str]:
    return Queue()


@pytest.fixture
def puppet(reports: Queue[str]) -> Iterator[Ref]:
    ref = start(Puppet, reports.put, Queue())
    yield ref
    stop(ref, PATIENCE_S)


def timers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}


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
    ask(puppet, SignOfLife())
    assert not promise.is_kept

    ask(puppet, lambda me: me.keep(me.taken, "late"))

    assert promise.get(timeout=PATIENCE_S) == "late"


def test_a_reply_taken_over_can_be_refused(puppet: Ref) -> None:
    promise = asked(puppet, hold)
    ask(puppet, lambda me: me.refuse(me.taken, NotFound("no")))

    with pytest.raises(NotFound):
        promise.get(timeout=PATIENCE_S)


def test_a_told_message_has_no_reply_to_take_over(puppet: Ref) -> None:
    tell(puppet, hold)

    assert ask(puppet, lambda me: me.taken) is None
    assert ask(puppet, lambda me: me.keep(None, "for nobody")) is None


def test_the_question_in_hand_is_passed_on(puppet: Ref, reports: Queue[str]) -> None:
    other = start(Puppet, reports.put)

    assert ask(puppet, lambda me: me.pass_on(other, lambda he: he.actor_urn)) == other.actor_urn
    stop(other, PATIENCE_S)


def test_a_reply_taken_over_is_passed_on(puppet: Ref) -> None:
    other = Recorder(answer=lambda message: f"{message} back")
    promise = asked(puppet, hold)

    ask(puppet, lambda me: me.pass_on(other, "there", me.taken))

    assert promise.get(timeout=PATIENCE_S) == "there back"


def test_a_question_passed_on_to_a_dead_actor_is_refused(puppet: Ref, reports: Queue[str]) -> None:
    dead = start(Puppet, reports.put)
    stop(dead, PATIENCE_S)

    with pytest.raises(Unavailable, match="stopped"):
        ask(puppet, lambda me: me.pass_on(dead, lambda he: 1))
    assert ask(puppet, lambda me: "alive") == "alive"


def test_no_answer_in_time_is_an_unknown_outcome(puppet: Ref) -> None:
    with pytest.raises(OutcomeUnknown, match=r"within 0\.01 s"):
        ask(puppet, hold, timeout=0.01)


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
        ask(doomed, SignOfLife())
    assert reports.get(timeout=PATIENCE_S) == f"{type(error).__name__}: {error}"
    assert ask(puppet, lambda me: "alive") == "alive"
    assert reports.empty()


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_a_crash_while_closing_leaves_nobody_waiting(
    reports: Queue[str], error: BaseException
) -> None:
    doomed = start(Puppet, reports.put, on_stop=lambda: raising(error)(None))
    taken = asked(doomed, hold)

    tell(doomed, raising(RuntimeError("first")))

    with pytest.raises(OutcomeUnknown):
        taken.get(timeout=PATIENCE_S)
    assert reports.get(timeout=PATIENCE_S) == "RuntimeError: first"
    assert reports.empty()


def test_a_crash_closes_what_was_opened(reports: Queue[str]) -> None:
    closed = threading.Event()
    doomed = start(Puppet, reports.put, on_stop=closed.set)

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


# --- stopping -----------------------------------------------------------------------------------


def test_stopping_reads_the_mail_before_it_and_refuses_what_comes_after(
    reports: Queue[str],
) -> None:
    ref = start(Puppet, reports.put)
    gate = threading.Event()
    held = asked(ref, hold)
    tell(ref, lambda me: gate.wait(PATIENCE_S))
    before = asked(ref, lambda me: "read")
    gate.set()

    assert stop(ref, PATIENCE_S)
    assert stop(ref, PATIENCE_S)  # once more does no harm
    assert before.get(timeout=PATIENCE_S) == "read"
    for promise in (held, asked(ref, lambda me: "never")):
        with pytest.raises(Unavailable, match="stopped"):
            promise.get(timeout=PATIENCE_S)
    assert reports.empty()


def test_an_actor_that_hangs_is_not_waited_for(puppet: Ref) -> None:
    gate = threading.Event()
    tell(puppet, lambda me: gate.wait(PATIENCE_S))

    assert not stop(puppet, 0.01)
    gate.set()


def test_no_question_hangs_when_it_meets_a_stop() -> None:
    endings = set()

    def keep_asking(ref: Ref) -> None:
        try:
            while True:
                ask(ref, lambda me: 1, timeout=PATIENCE_S)
        except QueueError as error:
            endings.add(error.message)

    with ThreadPoolExecutor(10) as threads:
        for _ in range(150):
            ref = start(Puppet, lambda text: None)
            asking = [threads.submit(keep_asking, ref) for _ in range(7)]
            stopping = [threads.submit(stop, ref, PATIENCE_S) for _ in range(3)]
            assert all(job.result(PATIENCE_S) for job in stopping)
            for job in asking:
                job.result(PATIENCE_S * 2)

    assert endings == {"the queue is stopped"}


def test_the_registry_of_a_host_program_is_left_alone(puppet: Ref) -> None:
    host = pykka.ThreadingActor.start()

    assert pykka.ActorRegistry.get_all() == [host]
    pykka.ActorRegistry.stop_all()

    assert not host.is_alive()
    assert ask(puppet, lambda me: "alive") == "alive"


def test_a_program_that_does_not_close_its_queue_ends_at_once(tmp_path: Any) -> None:
    program = f"""
from ollama_queue import Config, QueueManager, generate_task
from ollama_queue.actors.core.config import Ollama, Queue

nobody, folder = Ollama(host="http://127.0.0.1:9"), Queue(storage_path={str(tmp_path)!r})
queue = QueueManager(Config(ollama=nobody, queue=folder)).start()
print(queue.submit_task(generate_task("m", "hi")))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=20
    )

    assert (ended.returncode, len(ended.stdout.strip())) == (0, 36), ended.stderr


# --- time ---------------------------------------------------------------------------------------


def test_one_timer_is_armed_and_only_an_earlier_due_arms_it_anew(puppet: Ref) -> None:
    before, wakes = timers(), ask(puppet, lambda me: me.wakes)
    now = time.time()

    ask(puppet, lambda me: me.wake_at(now + 1000))
    (armed,) = timers() - before
    ask(puppet, lambda me: me.wake_at(now + 2000))
    ask(puppet, lambda me: me.wake_at(None))
    assert timers() - before == {armed}

    ask(puppet, lambda me: me.wake_at(now))
    wakes.get(timeout=PATIENCE_S)
    armed.join(PATIENCE_S)

    assert not armed.is_alive()
    with pytest.raises(Empty):
        wakes.get_nowait()


def test_after_a_wake_the_next_due_arms_again(puppet: Ref) -> None:
    wakes = ask(puppet, lambda me: me.wakes)

    for _ in range(3):
        ask(puppet, lambda me: me.wake_at(time.time()))
        assert wakes.get(timeout=PATIENCE_S) == Wake()


def test_a_stopped_actor_leaves_no_timer(reports: Queue[str]) -> None:
    before = timers()
    ref = start(Puppet, reports.put, Queue())
    ask(ref, lambda me: me.wake_at(time.time() + 1000))
    (armed,) = timers() - before

    stop(ref, PATIENCE_S)
    armed.join(PATIENCE_S)

    assert not armed.is_alive()
