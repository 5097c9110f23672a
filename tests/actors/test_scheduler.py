"""The scheduler: saves before it acts, passes promises on, and keeps every slot in hands."""

import random
from typing import Any

import pytest

from ollama_queue.actors.actor import Ref, ask, start, stop, tell
from ollama_queue.actors.core.config import Retry
from ollama_queue.actors.core.errors import QueueFull, Unavailable
from ollama_queue.actors.core.keys import instant_of
from ollama_queue.actors.core.messages import (
    BackendChanged,
    Cancel,
    Commit,
    Deny,
    Describe,
    Drain,
    Explain,
    Finished,
    Get,
    Pause,
    Reprioritize,
    Resume,
    Submit,
    Wake,
    WorkerLost,
)
from ollama_queue.actors.core.orders import Change, Insert, Run, SetFlag, Stop, Watch
from ollama_queue.actors.core.outcomes import Answered, Failed, Outcome, Verdict
from ollama_queue.actors.core.plan import Plan
from ollama_queue.actors.core.records import Status, Submitted, WaitingFor
from ollama_queue.actors.core.routing import Gate
from ollama_queue.actors.core.slots import STOP_PATIENCE_S
from ollama_queue.actors.core.submission import draft, generate_task
from ollama_queue.actors.core.waiting import entry_of
from ollama_queue.actors.rocks import Recovered
from ollama_queue.actors.scheduler import Scheduler
from tests.actors.standins import PATIENCE_S, START, Recorder, a_record, asked, task_id

DONE = Answered(b"{}")
NOTHING = Recovered([], [], [], {}, 0)


class RecordingCrew:
    """Hires recorders, all of which share one log."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self.log = log
        self.workers: list[Recorder] = []
        self.dismissed: list[Recorder] = []
        self.reports: list[Any] = []
        self.prober = Recorder("prober", log)

    def hire_worker(self, slot: int, scheduler: Ref, report: Any) -> Any:
        worker = Recorder(f"worker {slot}", self.log)
        self.workers.append(worker)
        self.reports.append(report)
        return worker

    def hire_prober(self, scheduler: Ref) -> Any:
        return self.prober

    def dismiss(self, worker: Any) -> None:
        self.dismissed.append(worker)


class Office:
    """A scheduler that is not started: `handle` is called by hand."""

    def __init__(self, *, slots: int = 1, recovered: Recovered = NOTHING, **limits: int) -> None:
        self.now = START.timestamp()
        self.log: list[tuple[str, Any]] = []
        self.crew = RecordingCrew(self.log)
        self.persistence = Recorder("persistence", self.log)
        gate = Gate("ollama", "ollama", parallel=slots)
        self.scheduler = Scheduler(
            lambda text: None,
            plan=Plan(slots=slots, gate=gate, retry=Retry(), **limits),
            recovered=recovered,
            persistence=self.persistence,
            crew=self.crew,
            clock=lambda: self.now,
            chance=random.Random(1),
        )
        self.due: list[float | None] = []
        self.scheduler.wake_at = self.due.append  # type: ignore[method-assign, assignment]
        self.scheduler.on_start()

    def handle(self, message: Any) -> Any:
        return self.scheduler.handle(message)

    def submit(self, prompt: str = "hi", key: str | None = None, **fields: Any) -> str:
        """The id that it got."""
        self.handle(draft(generate_task("smollm2", prompt, **fields), key))
        return self.commits[-1].reply.task_id

    def finish(self, task: str, outcome: Outcome = DONE, slot: int = 0, attempt: int = 1) -> None:
        self.handle(Finished(slot, task, attempt, outcome))

    @property
    def commits(self) -> list[Commit]:
        return [message for message in self.persistence.told if isinstance(message, Commit)]

    def since(self, mark: int) -> list[tuple[str, str]]:
        """Who was told what since the log was so long."""
        return [(name, type(message).__name__) for name, message in self.log[mark:]]


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_task_is_saved_before_it_runs(office: Office) -> None:
    office.submit()

    assert office.since(0) == [("persistence", "Commit"), ("worker 0", "Run")]
    (commit,) = office.commits
    assert [type(save) for save in commit.saves] == [Insert, Change]
    assert commit.at.timestamp() == pytest.approx(office.now)


def test_a_submit_is_answered_with_its_place(office: Office) -> None:
    for _ in range(3):
        office.submit()

    replies = [commit.reply for commit in office.commits]
    assert [(r.status, r.position) for r in replies] == [
        (Status.RUNNING, None),
        (Status.PENDING, 0),
        (Status.PENDING, 1),
    ]


def test_ids_grow_whatever_the_clock_does(office: Office) -> None:
    ids = []
    for step in (0, 0, -3600, 5):
        office.now += step
        ids.append(office.submit())

    assert ids == sorted(set(ids))


def test_ids_grow_over_a_restart() -> None:
    last_us = int((START.timestamp() + 3600) * 1e6)
    office = Office(recovered=Recovered([], [], [], {}, last_us))

    assert instant_of(office.submit()) == last_us + 1


def test_a_refused_submit_saves_nothing() -> None:
    office = Office(max_tasks=1)
    office.submit()
    office.submit()
    mark = len(office.log)

    with pytest.raises(QueueFull):
        office.handle(draft(generate_task("smollm2", "hi")))
    assert office.since(mark) == []


def test_a_known_key_leads_to_its_task(office: Office) -> None:
    first = office.submit(key="k")
    office.handle(draft(generate_task("smollm2", "hi"), "k"))

    assert office.persistence.told[-1] == Get(first)


def test_a_finish_is_saved_before_the_next_runs(office: Office) -> None:
    first, second = office.submit(), office.submit()
    mark = len(office.log)

    office.finish(first)

    assert office.since(mark) == [("persistence", "Commit"), ("worker 0", "Run")]
    assert office.commits[-1].saves[0].result == DONE.result
    assert office.crew.workers[0].told[-1] == Run(0, second, 1, "ollama")


def test_a_stale_finish_changes_nothing(office: Office) -> None:
    task = office.submit()
    office.finish(task)
    mark = len(office.log)

    office.finish(task)
    office.finish(task, attempt=2)
    office.finish(task, slot=7)

    assert office.since(mark) == []


def test_cancelling_a_running_task_saves_and_stops_it(office: Office) -> None:
    task = office.submit()
    mark = len(office.log)

    office.handle(Cancel(task))

    assert office.since(mark) == [("persistence", "Commit"), ("worker 0", "Stop")]
    assert office.crew.workers[0].told[-1] == Stop(0, task, 1)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (Cancel(task_id(9)), "cancelled"),
        (Reprioritize(task_id(9), 3), "given another priority"),
    ],
)
def test_what_the_plan_does_not_know_persistence_answers(
    office: Office, message: Any, wanted: str
) -> None:
    office.handle(message)

    assert office.persistence.told == [Deny(task_id(9), wanted)]


def test_a_new_priority_is_saved(office: Office) -> None:
    task = office.submit()
    office.handle(Reprioritize(task, 12))

    (change,) = office.commits[-1].saves
    assert (change.task_id, change.fields) == (task, {"priority": 12})


def test_pausing_and_resuming_are_saved(office: Office) -> None:
    office.handle(Pause())
    assert office.commits[-1].saves == (SetFlag("paused", True, "queue_paused"),)
    task = office.submit()
    assert office.crew.workers[0].told == []

    office.handle(Resume())
    assert office.commits[-1].saves[0] == SetFlag("paused", False, "queue_resumed")
    assert office.crew.workers[0].told == [Run(0, task, 1, "ollama")]


def test_a_refusal_sets_the_prober_on_and_a_well_backend_goes_on(office: Office) -> None:
    task = office.submit()
    office.finish(task, Failed("no connection", Verdict.REFUSED))
    assert office.crew.prober.told == [Watch("ollama", 1.0)]
    assert office.handle(Explain((task,)))[task].waiting_for is WaitingFor.BACKEND

    office.handle(BackendChanged("ollama"))
    assert office.crew.workers[0].told[-1] == Run(0, task, 2, "ollama")


def test_a_retry_comes_when_it_is_due(office: Office) -> None:
    task = office.submit()
    office.finish(task, Failed("cut", Verdict.RETRY))
    due = office.due[-1]
    assert due is not None
    assert due > office.now

    office.now = due
    office.handle(Wake())

    assert office.crew.workers[0].told[-1] == Run(0, task, 2, "ollama")


def test_a_lost_worker_is_replaced_and_its_task_runs_again(office: Office) -> None:
    task = office.submit()
    office.handle(WorkerLost(0, 1, "RuntimeError: broken"))

    old, new = office.crew.workers
    assert office.crew.dismissed == [old]
    assert new.told == [Run(0, task, 2, "ollama")]
    change = office.commits[-1].saves[0]
    assert change.fields["interruptions"] == 1
    assert change.ended.error == "RuntimeError: broken"


def test_the_loss_of_a_worker_long_replaced_is_no_news(office: Office) -> None:
    office.handle(WorkerLost(0, 1, "broken"))
    office.handle(WorkerLost(0, 1, "broken"))

    assert len(office.crew.workers) == 2


def test_a_worker_that_does_not_stop_is_replaced(office: Office) -> None:
    office.handle(Cancel(office.submit()))
    office.now += STOP_PATIENCE_S
    office.handle(Wake())

    assert len(office.crew.workers) == 2
    assert office.crew.dismissed == office.crew.workers[:1]


def test_each_slot_gets_a_worker_and_a_crash_puts_its_task_back() -> None:
    running = entry_of(a_record(1, status=Status.RUNNING, attempt=1))
    waiting = entry_of(a_record(2))
    office = Office(slots=2, recovered=Recovered([waiting], [running], [], {}, 0))

    assert len(office.crew.workers) == 2
    runs = [run for worker in office.crew.workers for run in worker.told]
    assert {(run.task_id, run.attempt) for run in runs} == {(task_id(1), 2), (task_id(2), 1)}
    assert office.commits[0].saves[0].fields["interruptions"] == 1


def test_a_pause_survives_a_restart() -> None:
    waiting = entry_of(a_record(1))
    office = Office(recovered=Recovered([waiting], [], [], {"paused": True}, 0))

    assert office.crew.workers[0].told == []
    assert office.handle(Describe()).paused


# --- draining: started, since it is about a promise that is kept later ---------------------------


def started(office: Office) -> Ref:
    """The same office, its scheduler alive."""
    parts = office.scheduler
    ref = start(
        Scheduler,
        lambda text: None,
        plan=parts.plan,
        recovered=NOTHING,
        persistence=office.persistence,
        crew=office.crew,
    )
    office.persistence.answer = lambda message: getattr(message, "reply", None)
    return ref


def test_draining_ends_when_the_last_call_has(office: Office) -> None:
    ref = started(office)
    submitted: Submitted = ask(ref, draft(generate_task("smollm2", "hi")))
    drained = asked(ref, Drain(60.0))
    with pytest.raises(Unavailable, match="shutting down"):
        ask(ref, Submit(generate_task("smollm2", "hi"), b"{}"))
    assert not drained.is_kept

    ask(ref, Describe())
    tell(ref, Finished(0, submitted.task_id, 1, DONE))

    assert drained.get(timeout=PATIENCE_S) is True
    last, before = office.commits[-1], office.commits[-2]
    assert (last.saves, before.saves[0].fields["status"]) == ((), Status.COMPLETED)
    stop(ref, PATIENCE_S)


def test_draining_without_grace_stops_what_runs(office: Office) -> None:
    ref = started(office)
    submitted: Submitted = ask(ref, draft(generate_task("smollm2", "hi")))
    asked(ref, Drain(0.0))

    assert office.crew.workers[-1].wait_for(Stop) == [Stop(0, submitted.task_id, 1)]
    stop(ref, PATIENCE_S)


def test_an_idle_queue_is_drained_at_once(office: Office) -> None:
    ref = started(office)

    assert ask(ref, Drain(60.0), timeout=PATIENCE_S) is True
    stop(ref, PATIENCE_S)
