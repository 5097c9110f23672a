"""The scheduler: pauses, retries, lost workers, draining."""

import logging

import pytest

from ollama_queue.actors.base.actor import Ref, ask, start, stop, tell
from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import (
    BackendProbed,
    Cancel,
    Describe,
    Drain,
    DrainBackend,
    Explain,
    Finished,
    Pause,
    Resume,
    Submit,
    Wake,
    WorkerLost,
)
from ollama_queue.actors.core.messages.replies import Recovered
from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.errors import NotFound, Unavailable
from ollama_queue.actors.core.model.orders import Probe, Run, SetFlag, Stop
from ollama_queue.actors.core.model.outcomes import Failed, ProbeResult, Verdict
from ollama_queue.actors.core.model.tasks import Status, Submitted, WaitingFor
from ollama_queue.actors.core.plan.slots import STOP_PATIENCE_S
from ollama_queue.actors.scheduler import Scheduler
from tests.support.harness.scheduler import DONE, NOTHING, SchedulerHarness
from tests.support.recorders import PATIENCE_S, a_record, asked, task_id


@pytest.fixture
def office() -> SchedulerHarness:
    return SchedulerHarness()


def test_pausing_and_resuming_are_saved(office: SchedulerHarness) -> None:
    office.handle(Pause())
    assert office.commits[-1].saves == (SetFlag("paused", True, "queue_paused"),)
    task = office.submit()
    assert office.spawner.workers[0].told == []

    office.handle(Resume())
    assert office.commits[-1].saves[0] == SetFlag("paused", False, "queue_resumed")
    assert office.spawner.workers[0].told == [Run(0, task, 1, "ollama")]


def test_draining_and_resuming_a_backend_are_saved_and_logged(
    office: SchedulerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for value in (True, False):
        office.handle(DrainBackend("ollama", value))
        saved = SetFlag("drained:ollama", value, "backend_changed", "ollama")
        assert office.commits[-1].saves == (saved,)
    with pytest.raises(NotFound):
        office.handle(DrainBackend("gpu1", True))

    assert caplog.messages == ["backend ollama drained", "backend ollama resumed"]


def test_a_refusal_sets_the_prober_on_and_a_well_backend_goes_on(office: SchedulerHarness) -> None:
    task = office.submit()
    office.finish(task, Failed("no connection", Verdict.REFUSED))
    assert office.spawner.prober.told == [Probe("ollama", 1.0)]
    assert office.handle(Explain((task,)))[task].waiting_for is WaitingFor.BACKEND

    office.handle(BackendProbed("ollama", ProbeResult()))
    assert office.spawner.workers[0].told[-1] == Run(0, task, 2, "ollama")


def test_a_retry_comes_when_it_is_due(office: SchedulerHarness) -> None:
    task = office.submit()
    office.finish(task, Failed("cut", Verdict.RETRY))
    due = office.due[-1]
    assert due is not None
    assert due > office.now

    office.now = due
    office.handle(Wake())

    assert office.spawner.workers[0].told[-1] == Run(0, task, 2, "ollama")


def test_a_lost_worker_is_replaced_and_its_task_runs_again(office: SchedulerHarness) -> None:
    task = office.submit()
    office.handle(WorkerLost(0, 1, "RuntimeError: broken"))

    old, new = office.spawner.workers
    assert office.spawner.dismissed == [old]
    assert new.told == [Run(0, task, 2, "ollama")]
    change = office.commits[-1].saves[0]
    assert change.fields["interruptions"] == 1
    assert change.ended.error == "RuntimeError: broken"


def test_the_loss_of_a_worker_long_replaced_is_no_news(office: SchedulerHarness) -> None:
    office.handle(WorkerLost(0, 1, "broken"))
    office.handle(WorkerLost(0, 1, "broken"))

    assert len(office.spawner.workers) == 2


def test_a_worker_that_does_not_stop_is_replaced(office: SchedulerHarness) -> None:
    office.handle(Cancel(office.submit()))
    office.now += STOP_PATIENCE_S
    office.handle(Wake())

    assert len(office.spawner.workers) == 2
    assert office.spawner.dismissed == office.spawner.workers[:1]


def test_each_slot_gets_a_worker_and_a_crash_puts_its_task_back() -> None:
    running = entry_of(a_record(1, status=Status.RUNNING, attempt=1))
    waiting = entry_of(a_record(2))
    office = SchedulerHarness(slots=2, recovered=Recovered([waiting], [running], [], {}, 0))

    assert len(office.spawner.workers) == 2
    runs = [run for worker in office.spawner.workers for run in worker.told]
    assert {(run.task_id, run.attempt) for run in runs} == {(task_id(1), 2), (task_id(2), 1)}
    assert office.commits[0].saves[0].fields["interruptions"] == 1


def test_a_pause_survives_a_restart() -> None:
    waiting = entry_of(a_record(1))
    office = SchedulerHarness(recovered=Recovered([waiting], [], [], {"paused": True}, 0))

    assert office.spawner.workers[0].told == []
    assert office.handle(Describe()).paused


def started(office: SchedulerHarness) -> Ref:
    """The same office, its scheduler alive."""
    parts = office.scheduler
    ref = start(
        Scheduler,
        lambda text: None,
        plan=parts.plan,
        recovered=NOTHING,
        persistence=office.persistence,
        spawner=office.spawner,
    )
    office.persistence.answer = lambda message: getattr(message, "reply", None)
    return ref


def test_draining_ends_when_the_last_call_has(office: SchedulerHarness) -> None:
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


def test_draining_without_grace_stops_what_runs(office: SchedulerHarness) -> None:
    ref = started(office)
    submitted: Submitted = ask(ref, draft(generate_task("smollm2", "hi")))
    asked(ref, Drain(0.0))

    assert office.spawner.workers[-1].wait_for(Stop) == [Stop(0, submitted.task_id, 1)]
    stop(ref, PATIENCE_S)


def test_an_idle_queue_is_drained_at_once(office: SchedulerHarness) -> None:
    ref = started(office)

    assert ask(ref, Drain(60.0), timeout=PATIENCE_S) is True
    stop(ref, PATIENCE_S)
