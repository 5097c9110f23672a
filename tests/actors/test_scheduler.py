"""The scheduler: saves before it acts, and passes promises on."""

from typing import Any

import pytest

from ollama_queue.actors.core.intake.submission import draft, generate_task
from ollama_queue.actors.core.messages import (
    Cancel,
    Delete,
    Fetch,
    Fetched,
    GetTask,
    RejectChange,
    Reprioritize,
    Retry,
)
from ollama_queue.actors.core.messages.replies import Recovered
from ollama_queue.actors.core.model.errors import Conflict, NotFound, QueueFull
from ollama_queue.actors.core.model.ids import instant_of
from ollama_queue.actors.core.model.orders import Change, Insert, Remove, Run, Stop
from ollama_queue.actors.core.model.tasks import Status
from tests.support.harness.scheduler import DONE, SchedulerHarness
from tests.support.recorders import START, a_record, task_id


@pytest.fixture
def office() -> SchedulerHarness:
    return SchedulerHarness()


def test_a_task_is_saved_before_it_runs(office: SchedulerHarness) -> None:
    office.submit()

    assert office.since(0) == [("persistence", "Commit"), ("worker 0", "Run")]
    (commit,) = office.commits
    assert [type(save) for save in commit.saves] == [Insert, Change]
    assert commit.at.timestamp() == pytest.approx(office.now)


def test_a_submit_is_answered_with_its_place(office: SchedulerHarness) -> None:
    for _ in range(3):
        office.submit()

    replies = [commit.reply for commit in office.commits]
    assert [(r.status, r.position) for r in replies] == [
        (Status.RUNNING, None),
        (Status.PENDING, 0),
        (Status.PENDING, 1),
    ]


def test_ids_grow_whatever_the_clock_does(office: SchedulerHarness) -> None:
    ids = []
    for step in (0, 0, -3600, 5):
        office.now += step
        ids.append(office.submit())

    assert ids == sorted(set(ids))


def test_ids_grow_over_a_restart() -> None:
    last_us = int((START.timestamp() + 3600) * 1e6)
    office = SchedulerHarness(recovered=Recovered([], [], [], {}, last_us))

    assert instant_of(office.submit()) == last_us + 1


def test_a_refused_submit_saves_nothing() -> None:
    office = SchedulerHarness(max_tasks=1)
    office.submit()
    office.submit()
    mark = len(office.log)

    with pytest.raises(QueueFull):
        office.handle(draft(generate_task("smollm2", "hi")))
    assert office.since(mark) == []


def test_a_known_key_leads_to_its_task(office: SchedulerHarness) -> None:
    first = office.submit(key="k")
    office.handle(draft(generate_task("smollm2", "hi"), "k"))

    assert office.persistence.told[-1] == GetTask(first)


def test_a_finish_is_saved_before_the_next_runs(office: SchedulerHarness) -> None:
    first, second = office.submit(), office.submit()
    mark = len(office.log)

    office.finish(first)

    assert office.since(mark) == [("persistence", "Commit"), ("worker 0", "Run")]
    assert office.commits[-1].saves[0].result == DONE.result
    assert office.spawner.workers[0].told[-1] == Run(0, second, 1, "ollama")


def test_a_stale_finish_changes_nothing(office: SchedulerHarness) -> None:
    task = office.submit()
    office.finish(task)
    mark = len(office.log)

    office.finish(task)
    office.finish(task, attempt=2)
    office.finish(task, slot=7)

    assert office.since(mark) == []


def test_cancelling_a_running_task_saves_and_stops_it(office: SchedulerHarness) -> None:
    task = office.submit()
    mark = len(office.log)

    office.handle(Cancel(task))

    assert office.since(mark) == [("persistence", "CommitChange"), ("worker 0", "Stop")]
    assert office.spawner.workers[0].told[-1] == Stop(0, task, 1)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (Cancel(task_id(9)), "cancelled"),
        (Reprioritize(task_id(9), 3), "given another priority"),
    ],
)
def test_what_the_plan_does_not_know_persistence_answers(
    office: SchedulerHarness, message: Any, wanted: str
) -> None:
    office.handle(message)

    assert office.persistence.told == [RejectChange(task_id(9), wanted)]


def test_a_new_priority_is_saved(office: SchedulerHarness) -> None:
    task = office.submit()
    office.handle(Reprioritize(task, 12))

    (change,) = office.commits[-1].saves
    assert (change.task_id, change.fields) == (task, {"priority": 12})


def test_an_ended_task_is_fetched_before_it_is_run_anew(office: SchedulerHarness) -> None:
    ended = a_record(1, status=Status.FAILED, attempt=3, retry_count=2, error="no")
    office.handle(Retry(ended.id))
    assert office.persistence.told == [Fetch(Retry(ended.id), office.scheduler.actor_ref)]

    office.handle(Fetched(Retry(ended.id), ended))

    assert office.since(1) == [("persistence", "CommitChange"), ("worker 0", "Run")]
    assert office.commits[0].saves[0].fields["retry_count"] == 0
    assert office.spawner.workers[0].told == [Run(0, ended.id, 4, "ollama")]


def test_an_ended_task_is_fetched_before_it_is_forgotten(office: SchedulerHarness) -> None:
    ended = a_record(1, status=Status.CANCELLED)
    office.handle(Delete(ended.id))
    office.handle(Fetched(Delete(ended.id), ended))

    assert [save for commit in office.commits for save in commit.saves] == [Remove(ended.id)]


@pytest.mark.parametrize("command", [Retry, Delete])
def test_what_lives_or_is_being_fetched_is_left_alone(
    office: SchedulerHarness, command: Any
) -> None:
    live = office.submit()
    office.handle(Retry(task_id(9)))

    for number in (live, task_id(9)):
        with pytest.raises(Conflict, match="not ended"):
            office.handle(command(number))


@pytest.mark.parametrize("command", [Retry(task_id(9)), Delete(task_id(9))])
def test_what_is_not_there_cannot_be_fetched(office: SchedulerHarness, command: Any) -> None:
    for _ in range(2):
        office.handle(command)
        with pytest.raises(NotFound):
            office.handle(Fetched(command, None))


def test_a_completed_task_is_not_run_anew(office: SchedulerHarness) -> None:
    done = a_record(1, status=Status.COMPLETED)
    office.handle(Retry(done.id))

    with pytest.raises(Conflict, match="completed"):
        office.handle(Fetched(Retry(done.id), done))
    assert office.commits == []
