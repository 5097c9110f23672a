"""Persistence: a read waits for what it has seen, and for nothing else."""

import pytest

from ollama_queue.actors.base.actor import Ping, ask
from ollama_queue.actors.core.messages import (
    Commit,
    CountTasks,
    Fetch,
    Fetched,
    GetTask,
    ListTasks,
    RejectChange,
    Retry,
    StartCall,
)
from ollama_queue.actors.core.messages.replies import CallSpec, Page
from ollama_queue.actors.core.model.errors import Conflict, NotFound
from ollama_queue.actors.core.model.orders import Change, Run, Stop
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Status, TaskType
from tests.support.harness.persistence import PersistenceHarness
from tests.support.recorders import (
    START,
    Recorder,
    completed,
    insert,
    spec_of,
    started,
    task_id,
    value,
)


def ids(page: Page) -> list[str]:
    return [record.id for record in page.records]


def priority(number: int, level: int) -> Change:
    return Change(task_id(number), {"priority": level}, "priority_updated")


def test_a_read_of_a_change_waits_for_its_sync_and_no_other_does(desk: PersistenceHarness) -> None:
    desk.saved(insert(1), insert(2))
    desk.commit(priority(1, 9))

    changed, other = desk.get(1), desk.get(2)
    assert not changed.is_kept
    assert value(other).record.priority == 5

    desk.sync()
    assert value(changed).record.priority == 9


def test_a_read_of_what_gathers_waits_for_the_sync_after(desk: PersistenceHarness) -> None:
    desk.commit(insert(1))
    desk.commit(priority(1, 9))
    read = desk.get(1)

    desk.sync()
    assert not read.is_kept
    desk.sync()

    assert value(read).record.priority == 9


def test_a_call_starts_with_its_spec_before_the_sync_and_after(desk: PersistenceHarness) -> None:
    wanted = CallSpec(TaskType.GENERATE, "smollm2", spec_of(1))
    assert desk.starts(1, insert(1), started(1)) == [wanted]

    desk.sync()
    assert desk.starts(1) == [wanted]


def test_orders_of_calls_are_passed_on_in_order(desk: PersistenceHarness) -> None:
    worker = Recorder()
    run, halt = Run(0, task_id(1), 1, "ollama"), Stop(0, task_id(1), 1)
    calls = ((worker, run), (worker, halt))
    desk.ask(Commit((insert(1), started(1)), START, None, calls))

    spec = CallSpec(TaskType.GENERATE, "smollm2", spec_of(1))
    assert worker.told == [StartCall(run, spec), halt]


def test_a_whole_task_is_read_from_every_stage(desk: PersistenceHarness) -> None:
    desk.commit(insert(1), started(1))
    desk.commit(completed(1))
    reads = [desk.get(1)]
    desk.sync()
    reads.append(desk.get(1))
    desk.sync()
    reads.append(desk.get(1))

    for read in reads:
        stored = value(read)
        assert stored.record.status is Status.COMPLETED
        assert (stored.spec, stored.result) == (spec_of(1), b'{"response":"Hello"}')


@pytest.mark.parametrize("message", [GetTask(task_id(9)), RejectChange(task_id(9), "x")])
def test_an_unknown_task_is_not_found(desk: PersistenceHarness, message: object) -> None:
    with pytest.raises(NotFound, match=task_id(9)):
        value(desk.ask(message))


def test_a_task_that_is_over_is_denied(desk: PersistenceHarness) -> None:
    desk.saved(insert(1), started(1), completed(1))

    with pytest.raises(Conflict, match="is completed: it cannot be cancelled"):
        value(desk.ask(RejectChange(task_id(1), "cancelled")))


def test_a_denial_that_saw_a_change_waits_for_it(desk: PersistenceHarness) -> None:
    desk.commit(insert(1), started(1), completed(1))
    denial = desk.ask(RejectChange(task_id(1), "cancelled"))
    assert not denial.is_kept

    desk.sync()
    with pytest.raises(Conflict):
        value(denial)


def test_a_list_is_given_once_what_it_saw_is_durable(desk: PersistenceHarness) -> None:
    desk.saved(insert(1))
    desk.commit(insert(2))
    desk.commit(insert(3))  # gathers: no list sees it

    page = desk.ask(ListTasks(TaskFilter()))
    desk.scanner.run()
    ask(desk.ref, Ping())
    assert not page.is_kept

    desk.sync()
    assert ids(value(page)) == [task_id(2), task_id(1)]


def test_a_list_that_ends_after_the_sync_is_given_at_once(desk: PersistenceHarness) -> None:
    desk.commit(insert(1))
    page = desk.ask(ListTasks(TaskFilter()))
    desk.sync()
    assert not page.is_kept

    desk.scanner.run()
    ask(desk.ref, Ping())

    assert ids(value(page)) == [task_id(1)]


@pytest.mark.parametrize("wanted", [TaskFilter(), TaskFilter(status=[Status.PENDING])])
def test_a_list_shows_the_moment_of_its_question(
    desk: PersistenceHarness, wanted: TaskFilter
) -> None:
    """In PostgreSQL a later one, which is durable as well."""
    desk.saved(insert(1))
    page = desk.ask(ListTasks(wanted))
    desk.saved(insert(2))
    desk.commit(insert(3))

    desk.scanner.run()
    ask(desk.ref, Ping())

    expected = [task_id(2), task_id(1)] if desk.kept.kind == "PostgreSQL" else [task_id(1)]
    assert ids(value(page)) == expected


def test_counts_are_given_once_what_they_saw_is_durable(desk: PersistenceHarness) -> None:
    desk.saved(insert(1))
    assert value(desk.ask(CountTasks())).by_status == {"pending": {5: 1}}

    desk.commit(insert(2, priority=9))
    desk.commit(insert(3))
    counts = desk.ask(CountTasks())
    assert not counts.is_kept

    desk.sync()
    assert value(counts).by_status == {"pending": {5: 1, 9: 1}}


def test_a_record_is_sent_on_together_with_the_question(desk: PersistenceHarness) -> None:
    scheduler = Recorder(answer=lambda message: "done")
    desk.commit(insert(1))  # not durable yet: the commit that follows will be answered behind it

    promise = desk.ask(Fetch(Retry(task_id(1)), scheduler))
    nothing = desk.ask(Fetch(Retry(task_id(2)), scheduler))

    assert [value(promise), value(nothing)] == ["done", "done"]
    found, unknown = scheduler.told
    assert (found.command, found.record.id) == (Retry(task_id(1)), task_id(1))
    assert unknown == Fetched(Retry(task_id(2)), None)
