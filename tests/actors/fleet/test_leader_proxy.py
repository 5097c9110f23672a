"""LeaderProxy: commands go together, and what became of them is never guessed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

import pytest

from ollama_queue.actors.base.actor import Ref, ask, start, stop, tell
from ollama_queue.actors.base.inbox import Future
from ollama_queue.actors.core.intake.submission import draft
from ollama_queue.actors.core.messages.command import Command
from ollama_queue.actors.core.messages.leader_proxy import ForLeader, LeaderChanged
from ollama_queue.actors.core.messages.scheduler import Cancel, Explain, Submit
from ollama_queue.actors.core.model.errors import Conflict, OutcomeUnknown, QueueError, Unavailable
from ollama_queue.actors.core.model.tasks import CLIENT_LEFT, Status, Submitted
from ollama_queue.actors.fleet.asks import ASK_PATH, decode_batch, encode_replies
from ollama_queue.actors.fleet.leader_proxy import CHANGERS, LeaderProxy
from ollama_queue.actors.fleet.signature import HEADER, Seal
from tests.support.recorders import a_record, asked

PATIENCE_S = 20.0
SEAL = Seal(b"of the servers")
Answer = Callable[[list[ForLeader]], tuple[int, bytes] | None]


def well(commands: list[ForLeader]) -> tuple[int, bytes]:
    """As a leader that takes everything: a submit is answered with the name of its model."""
    replies: list[Any] = []
    for command in commands:
        match command:
            case Submit(new):
                replies.append(Submitted(new.model, Status.PENDING, 0))
            case Cancel():
                replies.append(a_record(1))
            case _:
                replies.append({})
    return 200, encode_replies(replies)


def cut_off(commands: list[ForLeader]) -> None:
    """Close the connection without an answer."""


class FakeLeader:
    """Answers as `script` says, one entry for each request; then well. `batches` are what came."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.batches: SimpleQueue[list[ForLeader]] = SimpleQueue()
        leader = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert SEAL.vouched(self.headers[HEADER], "POST", self.path) is not None
                assert self.path.startswith(ASK_PATH)
                commands = decode_batch(body)
                answer = leader.script.pop(0) if leader.script else well
                leader.batches.put(commands)
                told = answer(commands)
                if told is None:
                    self.close_connection = True
                    return
                status, data = told
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                with suppress(OSError):  # it was given up
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def next(self) -> list[ForLeader]:
        return self.batches.get(timeout=PATIENCE_S)

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


class Follower:
    """A server with a LeaderProxy. `leads`: what it has told its own actors since it leads."""

    def __init__(self, leader: FakeLeader) -> None:
        self.url: str | None = leader.url
        self.leads: SimpleQueue[Command[Any]] | None = None
        self.crashes: list[str] = []
        self.proxy: Ref = start(
            LeaderProxy,
            self.crashes.append,
            where=lambda: (self.url, SEAL),
            tell_here=self.tell_here,
        )

    def tell_here(self, command: Command[Any]) -> bool:
        if self.leads is None:
            return False
        self.leads.put(command)
        return True

    def submit(self, model: str) -> Future[Any]:
        return asked(self.proxy, a_submit(model))


def a_submit(model: str, prompt: str = "hi") -> Submit:
    return draft({"type": "generate", "model": model, "prompt": prompt})


@pytest.fixture
def leader() -> Iterator[FakeLeader]:
    made = FakeLeader()
    yield made
    made.close()


@pytest.fixture
def follower(leader: FakeLeader) -> Iterator[Follower]:
    made = Follower(leader)
    yield made
    stop(made.proxy, PATIENCE_S)
    assert made.crashes == []


def test_what_comes_while_all_connections_are_busy_goes_together(
    leader: FakeLeader, follower: Follower
) -> None:
    go_on = threading.Event()

    def hold(commands: list[ForLeader]) -> tuple[int, bytes]:
        assert go_on.wait(PATIENCE_S)
        return well(commands)

    leader.script += [hold] * CHANGERS
    first = []
    for n in range(CHANGERS):
        first.append(follower.submit(f"first{n}"))
        assert len(leader.next()) == 1
    rest = [follower.submit(f"rest{n}") for n in range(50)]
    ask(follower.proxy, Explain(()), PATIENCE_S)  # all have arrived; questions do not wait
    assert leader.next() == [Explain(())]

    go_on.set()

    assert [each.get(PATIENCE_S).task_id for each in first + rest] == [
        *(f"first{n}" for n in range(CHANGERS)),
        *(f"rest{n}" for n in range(50)),
    ]
    assert len(leader.next()) == 50


def test_an_error_is_that_of_its_command_alone(leader: FakeLeader, follower: Follower) -> None:
    leader.script.append(lambda _: (200, encode_replies([Conflict("no", field="id")])))

    with pytest.raises(Conflict, match="no") as caught:
        ask(follower.proxy, a_submit("a"), PATIENCE_S)

    assert caught.value.field == "id"
    assert ask(follower.proxy, a_submit("b"), PATIENCE_S) == Submitted("b", Status.PENDING, 0)


def undone(follower: Follower, command: Command[Any]) -> None:
    """Ask, and be told that nothing was done."""
    with pytest.raises(Unavailable) as caught:
        ask(follower.proxy, command, PATIENCE_S)
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("status", [400, 403, 404, 503])
def test_what_the_leader_has_not_taken_is_known_to_be_undone(
    leader: FakeLeader, follower: Follower, status: int
) -> None:
    leader.script.append(lambda _: (status, b""))

    undone(follower, a_submit("a"))


def test_a_leader_that_is_gone_has_done_nothing(leader: FakeLeader, follower: Follower) -> None:
    leader.close()
    undone(follower, a_submit("a"))
    follower.url = None
    undone(follower, a_submit("a"))


@pytest.mark.parametrize(
    "answer",
    [
        cut_off,
        lambda _: (500, b""),
        lambda _: (200, b"\xc1"),
        lambda _: (200, encode_replies([])),
        lambda _: (200, encode_replies([a_record(1)])),
    ],
)
def test_a_change_whose_answer_is_lost_may_have_been_done(
    leader: FakeLeader, follower: Follower, answer: Answer
) -> None:
    ask(follower.proxy, a_submit("warm"), PATIENCE_S)  # a connection that was used is no exception
    leader.script.append(answer)

    with pytest.raises(OutcomeUnknown):
        ask(follower.proxy, a_submit("a"), PATIENCE_S)

    assert [leader.next() for _ in range(2)] == [[a_submit("warm")], [a_submit("a")]]
    assert leader.batches.empty(), "it was not sent twice"


def test_a_question_whose_answer_is_lost_is_asked_again(
    leader: FakeLeader, follower: Follower
) -> None:
    ask(follower.proxy, Explain(("warm",)), PATIENCE_S)
    leader.script.append(cut_off)

    assert ask(follower.proxy, Explain(("a",)), PATIENCE_S) == {}


def test_what_is_on_its_way_to_an_old_leader_is_given_up(
    leader: FakeLeader, follower: Follower
) -> None:
    hangs = threading.Event()
    leader.script.append(lambda commands: (hangs.wait(PATIENCE_S), well(commands))[1])
    promise = follower.submit("a")
    leader.next()
    new = FakeLeader()

    follower.url = new.url
    tell(follower.proxy, LeaderChanged())

    with pytest.raises(OutcomeUnknown):
        promise.get(PATIENCE_S)
    assert ask(follower.proxy, a_submit("b"), PATIENCE_S).status is Status.PENDING
    assert new.next() == [a_submit("b")]
    hangs.set()
    new.close()


def test_a_cancel_that_is_told_is_kept_until_a_leader_has_taken_it(
    leader: FakeLeader, follower: Follower
) -> None:
    cancel = Cancel("a", CLIENT_LEFT)
    leader.script += [lambda _: (503, b""), cut_off]

    tell(follower.proxy, cancel)

    assert [leader.next() for _ in range(3)] == [[cancel]] * 3
    ask(follower.proxy, a_submit("b"), PATIENCE_S)
    assert leader.next() == [a_submit("b")]


def test_a_server_that_begins_to_lead_cancels_itself(follower: Follower) -> None:
    follower.leads, follower.url = SimpleQueue(), None
    cancel = Cancel("a", CLIENT_LEFT)

    tell(follower.proxy, cancel)

    assert follower.leads.get(timeout=PATIENCE_S) == cancel


def test_what_is_too_large_to_be_asked_is_left_to_be_passed_on(
    leader: FakeLeader, follower: Follower
) -> None:
    undone(follower, a_submit("a", "x" * (1 << 20)))
    assert leader.batches.empty()


def test_what_waits_is_answered_when_the_proxy_ends(leader: FakeLeader) -> None:
    follower = Follower(leader)
    hangs = threading.Event()
    leader.script.append(lambda commands: (hangs.wait(PATIENCE_S), well(commands))[1])
    promise = follower.submit("a")
    leader.next()

    stop(follower.proxy, PATIENCE_S)

    with pytest.raises(QueueError):
        promise.get(PATIENCE_S)
    hangs.set()
