"""One worker: runs, hears, hands on, and ends."""

import json
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

from ollama_queue.actors.base.actor import Ping, Ref, ask, start, stop, tell
from ollama_queue.actors.base.mailbox import Mailbox
from ollama_queue.actors.base.stream_log import STEP_BYTES, StreamLog
from ollama_queue.actors.core.messages import Finished, StartCall, StreamGrew, Wake
from ollama_queue.actors.core.messages.replies import CallSpec
from ollama_queue.actors.core.model.errors import OutcomeUnknown
from ollama_queue.actors.core.model.orders import Run, Stop
from ollama_queue.actors.core.model.outcomes import Answered, Failed, Outcome, Stopped, Verdict
from ollama_queue.actors.core.model.tasks import Piece, Spec, TaskType
from ollama_queue.actors.worker import Worker
from tests.support.recorders import PATIENCE_S, Controlled, Recorder, spec_of, task_id

SLOT = 7701
DONE = Answered(b'{"response":"Hello"}')


class WorkerHarness:
    """A worker between recorders that share one log."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.executor: Controlled = Controlled()
        self.scheduler = Recorder("scheduler", self.log)
        self.bus = Recorder("bus", self.log)
        self.reports: Queue[str] = Queue()
        self.ref: Ref = start(
            Worker,
            self.reports.put,
            slot=SLOT,
            make_executor=lambda backend: self.executor,
            scheduler=self.scheduler,
            bus=self.bus,
        )

    def run(self, number: int = 1, attempt: int = 1, timeout_s: float | None = None) -> None:
        run = Run(SLOT, task_id(number), attempt, "ollama", timeout_s)
        tell(self.ref, StartCall(run, CallSpec(TaskType.GENERATE, "smollm2", spec_of(number))))

    def step(self, *steps: Any) -> None:
        """Let the call do these, and wait until it has."""
        done = threading.Event()
        for step in (*steps, done):
            self.executor.steps.put(step)
        assert done.wait(PATIENCE_S)
        ask(self.ref, Ping())

    def end(self, *steps: Any) -> None:
        """Let the call do these, the last of them being its outcome."""
        for step in steps:
            self.executor.steps.put(step)

    def finished(self, count: int = 1) -> list[Finished]:
        return self.scheduler.wait_for(Finished, count)

    @property
    def thread(self) -> threading.Thread | None:
        name = f"ollama-queue-call-{SLOT}"
        return next((thread for thread in threading.enumerate() if thread.name == name), None)


def pieces_of(log: StreamLog) -> list[Any]:
    mailbox = Mailbox[Any]()
    log.join(mailbox)
    return [json.loads(item.raw) for item in mailbox.drain() if isinstance(item, Piece)]


@pytest.fixture
def bench() -> Iterator[WorkerHarness]:
    made = WorkerHarness()
    yield made
    stop(made.ref, PATIENCE_S)


def test_a_run_asks_the_model_and_says_how_it_went(bench: WorkerHarness) -> None:
    for number in (1, 2):
        bench.run(number, attempt=number)
        bench.end(DONE)
        bench.finished(number)

    assert bench.finished(2) == [Finished(SLOT, task_id(n), n, DONE) for n in (1, 2)]
    wanted = (TaskType.GENERATE, "smollm2", Spec({"prompt": "question 1"}))
    assert bench.executor.calls.get_nowait() == wanted
    assert bench.executor.begun == 2


def test_a_stop_ends_the_call_at_once(bench: WorkerHarness) -> None:
    bench.run()
    tell(bench.ref, Stop(SLOT, task_id(1), 1))

    assert bench.finished() == [Finished(SLOT, task_id(1), 1, Stopped())]


class Uninterruptible(Controlled):
    def abort(self, failure: str | None = None) -> Outcome:
        self.aborts.append(failure)
        return Stopped()


def test_a_call_that_cannot_be_interrupted_is_left_alone(bench: WorkerHarness) -> None:
    left = bench.executor = Uninterruptible()
    thread = bench.thread
    assert thread is not None
    bench.run()
    left.calls.get(timeout=PATIENCE_S)
    tell(bench.ref, Stop(SLOT, task_id(1), 1))
    bench.finished()

    bench.executor = Controlled()
    bench.run(2)
    bench.end(DONE)
    bench.finished(2)
    left.steps.put(DONE)
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert not bench.executor.closed.is_set()
    ends = [Finished(SLOT, task_id(1), 1, Stopped()), Finished(SLOT, task_id(2), 1, DONE)]
    assert bench.scheduler.told == ends


@pytest.mark.parametrize("other", [Stop(SLOT, task_id(1), 2), Stop(SLOT, task_id(2), 1)])
def test_a_stop_of_another_call_is_ignored(bench: WorkerHarness, other: Stop) -> None:
    tell(bench.ref, other)
    bench.run()
    tell(bench.ref, other)
    bench.end(DONE)

    assert bench.finished() == [Finished(SLOT, task_id(1), 1, DONE)]
    assert bench.executor.aborts == []


def test_a_call_that_takes_too_long_fails(bench: WorkerHarness) -> None:
    bench.run(timeout_s=0.01)

    words = "no answer within timeout_s = 0.01 s"
    assert bench.finished()[0].outcome == Failed(words, Verdict.RETRY)


def test_the_time_of_one_call_does_not_limit_the_next(bench: WorkerHarness) -> None:
    bench.run(timeout_s=60)
    bench.end(DONE)
    bench.finished()
    bench.run(2)
    bench.end(DONE)

    assert bench.finished(2)[1].outcome == DONE
    assert bench.executor.aborts == []


def test_the_bus_gets_the_log_of_a_reply_once(bench: WorkerHarness) -> None:
    bench.run(attempt=2)
    bench.step("a")
    (grew,) = bench.bus.wait_for(StreamGrew)
    bench.step("b", "c")
    bench.end("d", DONE)
    bench.finished()

    assert bench.bus.told == [grew]
    assert (grew.task_id, grew.log.attempt, grew.log.begun.backend) == (task_id(1), 2, "ollama")
    assert pieces_of(grew.log) == ["a", "b", "c", "d"]


def test_the_bus_is_told_as_the_log_grows(bench: WorkerHarness) -> None:
    bench.run()
    bench.end(*["x" * STEP_BYTES] * 3, DONE)
    bench.finished()

    assert len(bench.bus.told) == 3


def test_a_reply_without_pieces_has_no_log(bench: WorkerHarness) -> None:
    bench.run()
    bench.end(DONE)
    bench.finished()

    assert bench.bus.told == []


def test_the_log_is_complete_before_anyone_hears_of_the_end(bench: WorkerHarness) -> None:
    bench.run()
    bench.end("a", "b", "c", DONE)
    bench.finished()

    assert [name for name, _ in bench.log] == ["bus", "scheduler"]
    assert pieces_of(bench.bus.told[0].log) == ["a", "b", "c"]


def test_what_a_stopped_call_still_brings_is_dropped(bench: WorkerHarness) -> None:
    bench.run()
    bench.executor.calls.get(timeout=PATIENCE_S)
    tell(bench.ref, Stop(SLOT, task_id(1), 1))
    bench.finished()
    bench.run(2)
    bench.executor.steps.put("too late")
    tell(bench.ref, Stop(SLOT, task_id(2), 1))
    bench.finished(2)

    assert all(pieces_of(grew.log) == [] for grew in bench.bus.told)


def test_a_task_that_is_gone_fails_for_good(bench: WorkerHarness) -> None:
    tell(bench.ref, StartCall(Run(SLOT, task_id(1), 1, "ollama"), None))

    gone = f"there is no task {task_id(1)}"
    assert bench.finished()[0].outcome == Failed(gone, Verdict.FINAL)


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit("no")])
def test_an_executor_that_breaks_ends_its_worker(
    bench: WorkerHarness, error: BaseException
) -> None:
    bench.run()
    bench.executor.steps.put(error)

    told = bench.reports.get(timeout=PATIENCE_S)
    assert str(error) in told
    assert "\n" not in told
    with pytest.raises(OutcomeUnknown):
        ask(bench.ref, Ping())
    assert bench.scheduler.told == []


def test_stopping_ends_the_call_and_its_thread(bench: WorkerHarness) -> None:
    thread = bench.thread
    assert thread is not None
    bench.run()
    bench.executor.calls.get(timeout=PATIENCE_S)

    assert stop(bench.ref, PATIENCE_S)
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert bench.executor.closed.is_set()
    assert bench.scheduler.told == []


def test_a_crash_ends_the_thread_too(bench: WorkerHarness) -> None:
    thread = bench.thread
    assert thread is not None
    bench.run(1)
    bench.run(2)

    assert "two calls in one slot" in bench.reports.get(timeout=PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_wake_before_the_time_is_up_ends_nothing(bench: WorkerHarness) -> None:
    bench.run(timeout_s=3600)
    tell(bench.ref, Wake())
    ask(bench.ref, Ping())

    assert bench.executor.aborts == []
