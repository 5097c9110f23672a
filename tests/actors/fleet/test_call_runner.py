"""The CallRunner on a real PostgreSQL: which calls it makes, and what it writes of their ends."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest

from ollama_queue.actors.base.actor import Actor, Ref, ask, start, stop, tell
from ollama_queue.actors.core.messages import Finished, StartCall, StreamEnded, WorkerLost
from ollama_queue.actors.core.messages.call_runner import Retire
from ollama_queue.actors.core.model.orders import AssignedCall, Run, Stop
from ollama_queue.actors.core.model.outcomes import Answered, CallEnd, Outcome, Stopped
from ollama_queue.actors.fleet.call_runner import CallRunner
from ollama_queue.actors.store.encoding import encode
from ollama_queue.actors.store.postgres.calls import CallEndWatch
from ollama_queue.actors.store.postgres.connections import connect
from ollama_queue.actors.store.postgres.saving import CALLS_OF
from ollama_queue.actors.store.postgres.schema import prepare

PATIENCE_S = 20.0
DONE = Answered(b'{"response":"hi"}')


class Told(Actor):
    """Keeps what it is told."""

    def __init__(self, mail: "SimpleQueue[Any]") -> None:
        super().__init__(print)
        self.mail = mail

    def handle(self, message: Any) -> None:
        self.mail.put(message)


class Runner:
    """A CallRunner with workers that only note what they are told."""

    def __init__(self, conninfo: str, limit_s: float = 60.0) -> None:
        self.conninfo, self.server = conninfo, str(uuid4())
        self.mail: SimpleQueue[Any] = SimpleQueue()
        self.streams: SimpleQueue[Any] = SimpleQueue()
        self.crashes: list[str] = []
        self.crashed = threading.Event()
        self.lose: dict[int, Callable[[str], None]] = {}
        self.bus: Ref = start(Told, self.streams)
        self.refs: list[Ref] = [self.bus]
        self.ends = CallEndWatch(conninfo)
        self.runner: Ref = start(
            CallRunner,
            self.note_crash,
            conninfo=conninfo,
            server=self.server,
            limit_s=limit_s,
            bus=self.bus,
            spawn_worker=self.spawn,
            dismiss=lambda worker: None,
        )

    def note_crash(self, error: str) -> None:
        self.crashes.append(error)
        self.crashed.set()

    def spawn(self, slot: int, runner: Ref, lose: Callable[[str], None]) -> Ref:
        self.lose[slot] = lose
        self.refs.append(start(Told, self.mail))
        return self.refs[-1]

    def call(self, *, stop: bool = False, attempt: int = 1) -> AssignedCall:
        """One that is not assigned yet."""
        return AssignedCall(self.server, "m", Run(7, str(uuid4()), attempt, "b"), 0.0, stop)

    def assign(self, *calls: AssignedCall) -> None:
        """As the leader does."""
        with connect(self.conninfo) as connection:
            for call in calls:
                connection.execute(
                    "INSERT INTO calls VALUES (%b, %b)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [call.key.encode(), encode(call)],
                )
            connection.execute(f'NOTIFY "{CALLS_OF}{self.server}"'.encode())

    def drop(self, key: str) -> None:
        with connect(self.conninfo) as connection:
            for table in ("calls", "ends"):
                connection.execute(f"DELETE FROM {table} WHERE key = %b".encode(), [key.encode()])
            connection.execute(f'NOTIFY "{CALLS_OF}{self.server}"'.encode())

    def hears(self) -> Any:
        """What a worker is told next."""
        return self.mail.get(timeout=PATIENCE_S)

    def finish(self, begun: StartCall, outcome: Outcome = DONE) -> None:
        run = begun.run
        tell(self.runner, Finished(run.slot, run.task_id, run.attempt, outcome))

    def next_ends(self) -> tuple[tuple[str, CallEnd], ...]:
        while not (ends := self.ends.read()):
            self.ends.wait(PATIENCE_S)
        return ends

    def close(self) -> None:
        for ref in (self.runner, *self.refs):
            stop(ref, 1.0)
        self.ends.close()
        assert self.crashes == []


@pytest.fixture
def runner(conninfo: str) -> Iterator[Runner]:
    prepare(conninfo)
    made = Runner(conninfo)
    yield made
    made.close()


def test_it_makes_its_calls_and_writes_how_they_end(runner: Runner) -> None:
    call = runner.call()
    runner.assign(call)

    begun = runner.hears()
    runner.finish(begun)

    assert (begun.run.task_id, begun.run.backend) == (call.run.task_id, "b")
    assert runner.next_ends() == ((call.key, CallEnd(DONE)),)
    assert runner.streams.get(timeout=PATIENCE_S) == StreamEnded(call.run.task_id, 1)


def test_it_makes_no_calls_of_others(runner: Runner) -> None:
    other = AssignedCall(str(uuid4()), "m", Run(0, "a", 1, "b"), 0.0)
    mine = runner.call()
    runner.assign(other, mine)

    assert runner.hears().run.task_id == mine.run.task_id
    assert runner.mail.empty()


def test_a_call_that_has_ended_is_not_made_again(runner: Runner) -> None:
    first, second = runner.call(), runner.call()
    runner.assign(first)
    runner.finish(runner.hears())
    runner.next_ends()

    runner.assign(first, second)

    assert runner.hears().run.task_id == second.run.task_id


def test_it_stops_what_is_to_stop(runner: Runner) -> None:
    call = runner.call()
    runner.assign(call)
    begun = runner.hears()

    runner.assign(AssignedCall(call.server, call.model, call.run, 0.0, stop=True))
    stopped = runner.hears()
    runner.finish(begun, Stopped())

    assert stopped == Stop(begun.run.slot, call.run.task_id, 1)
    assert runner.next_ends() == ((call.key, CallEnd(Stopped())),)


def test_what_is_stopped_before_it_began_ends_at_once(runner: Runner) -> None:
    call = runner.call(stop=True)
    runner.assign(call)

    assert runner.next_ends() == ((call.key, CallEnd(Stopped())),)
    assert runner.mail.empty()


def test_a_dropped_call_is_stopped_and_its_end_not_written(runner: Runner) -> None:
    dropped, kept = runner.call(), runner.call()
    runner.assign(dropped, kept)
    begun = {each.run.task_id: each for each in (runner.hears(), runner.hears())}

    runner.drop(dropped.key)
    assert runner.hears() == Stop(begun[dropped.run.task_id].run.slot, dropped.run.task_id, 1)
    for each in begun.values():
        runner.finish(each)

    assert runner.next_ends() == ((kept.key, CallEnd(DONE)),)


def test_an_end_that_comes_after_the_drop_is_not_kept(runner: Runner) -> None:
    """The leader drops it just now: whichever comes first, nothing is left."""
    call, next_call = runner.call(), runner.call()
    runner.assign(call)
    begun = runner.hears()

    with connect(runner.conninfo) as connection:  # without a notification
        connection.execute("DELETE FROM calls")
    runner.finish(begun)
    runner.assign(next_call)
    runner.finish(runner.hears())

    assert runner.next_ends() == ((next_call.key, CallEnd(DONE)),)


def test_a_worker_that_dies_is_replaced(runner: Runner) -> None:
    call, next_call = runner.call(), runner.call()
    runner.assign(call)
    slot = runner.hears().run.slot

    runner.lose[slot]("crashed on purpose")
    assert runner.next_ends() == ((call.key, CallEnd(None, "crashed on purpose")),)
    tell(runner.runner, WorkerLost(slot, 1, "told twice"))
    runner.assign(next_call)

    assert runner.hears().run.slot == slot
    assert len(runner.refs) == 3  # the bus, and both workers


def test_it_goes_on_when_its_connections_are_cut(runner: Runner) -> None:
    first, second = runner.call(), runner.call()
    runner.assign(first)
    begun = runner.hears()

    with connect(runner.conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    runner.ends = CallEndWatch(runner.conninfo)
    runner.finish(begun)
    runner.assign(second)

    assert runner.hears().run.task_id == second.run.task_id
    assert runner.next_ends() == ((first.key, CallEnd(DONE)),)


def test_without_a_look_at_its_calls_it_stops_them(conninfo: str) -> None:
    """By then another server makes them."""
    prepare(conninfo)
    runner = Runner(conninfo, limit_s=2.0)
    call = runner.call()
    runner.assign(call)
    begun = runner.hears()
    with connect(conninfo) as connection:
        connection.execute("ALTER TABLE calls RENAME TO hidden")  # each look fails

    assert runner.hears() == Stop(begun.run.slot, call.run.task_id, 1)
    runner.close()


def test_it_retires_once_its_calls_have_ended(runner: Runner) -> None:
    call = runner.call()
    runner.assign(call)
    begun = runner.hears()
    tell(runner.runner, Retire(PATIENCE_S))
    late = runner.call()
    runner.assign(late)
    assert runner.next_ends() == ((late.key, CallEnd(Stopped())),)  # another server makes it

    runner.finish(begun)

    assert ask(runner.runner, Retire(PATIENCE_S), PATIENCE_S)
    assert runner.next_ends() == ((call.key, CallEnd(DONE)),)


def test_it_stops_its_calls_when_it_must_retire(runner: Runner) -> None:
    call = runner.call()
    runner.assign(call)
    begun = runner.hears()

    tell(runner.runner, Retire(0.0))

    assert runner.hears() == Stop(begun.run.slot, call.run.task_id, 1)


def test_a_row_that_cannot_be_read_is_reported(runner: Runner) -> None:
    """Else this server would look well, and make no calls."""
    with connect(runner.conninfo) as connection:
        connection.execute(
            "INSERT INTO calls VALUES (%b, 'of another format')",
            [f"{runner.server}:{uuid4()}:1".encode()],
        )
    runner.assign(runner.call())

    runner.crashed.wait(PATIENCE_S)

    assert [crash.split(":")[0] for crash in runner.crashes] == ["ValidationError"]
    runner.crashes.clear()


def test_the_end_of_a_worker_that_was_replaced_changes_nothing(runner: Runner) -> None:
    first, second = runner.call(), runner.call()
    runner.assign(first)
    begun = runner.hears()
    runner.lose[begun.run.slot]("crashed on purpose")
    runner.next_ends()
    runner.assign(second)
    again = runner.hears()
    assert again.run.slot == begun.run.slot

    runner.finish(begun)
    runner.finish(again, Stopped())

    assert runner.next_ends() == ((second.key, CallEnd(Stopped())),)
