"""Crons on disk: together with the tasks of their runs, and what is said of them."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue import Conflict, Cron, Overlap
from ollama_queue.actors.core.intake.crons import task_of
from ollama_queue.actors.core.intake.submission import draft
from ollama_queue.actors.core.messages import Commit, CronFired, SubmitCronRun
from ollama_queue.actors.core.model.orders import DropCron, SaveCron
from ollama_queue.actors.store.commit_group import CommitGroup
from tests.support.harness.cron_ticker import a_cron
from tests.support.harness.persistence import PersistenceHarness
from tests.support.harness.scheduler import SchedulerHarness
from tests.support.recorders import START, Recorder, insert, task_id
from tests.support.stores import KeptStore

LATER = START + timedelta(minutes=1)


def on_disk(kept: KeptStore) -> list[Cron]:
    store = kept.open()
    try:
        return store.recover().crons
    finally:
        store.close()


def test_crons_are_found_again(desk: PersistenceHarness) -> None:
    first, second = a_cron(1, LATER, metadata={"big": 1 << 70}), a_cron(2, run_count=3)
    desk.saved(SaveCron(first, "cron_changed"), SaveCron(second, "cron_changed"))
    changed = replace(second, run_count=4)
    desk.saved(SaveCron(changed, "cron_changed"))
    desk.close()

    assert on_disk(desk.kept) == [first, changed]


def test_a_removed_cron_is_gone(desk: PersistenceHarness) -> None:
    desk.saved(SaveCron(a_cron(), "cron_changed"))
    desk.saved(DropCron("cron 1"))
    desk.close()

    assert on_disk(desk.kept) == []
    events = [(event.event, event.cron_id) for event in desk.published]
    assert events == [("cron_changed", "cron 1")] * 2


def test_the_last_of_several_saves_in_one_group_counts(desk: PersistenceHarness) -> None:
    desk.commit(SaveCron(a_cron(9), "cron_changed"))  # its fsync is in flight
    fired = a_cron(1, LATER)
    desk.commit(insert(1, cron_id="cron 1"), SaveCron(fired, "cron_fired", task_id(1)))
    desk.commit(SaveCron(replace(fired, name="New"), "cron_changed"))
    desk.commit(SaveCron(a_cron(2), "cron_changed"))
    desk.commit(DropCron("cron 2"))
    desk.sync()
    desk.sync()
    desk.close()

    assert {cron.id: cron.name for cron in on_disk(desk.kept)} == {
        "cron 1": "New",
        "cron 9": "Again",
    }


def test_the_events_say_what_happened_in_order(desk: PersistenceHarness) -> None:
    cron = a_cron(1, LATER)
    desk.saved(insert(1, cron_id="cron 1"), SaveCron(cron, "cron_fired", task_id(1)))
    desk.saved(SaveCron(cron, "cron_skipped", reason="the queue is full"))

    said = [(e.event, e.task.id if e.task else None, e.cron_id, e.reason) for e in desk.published]
    assert said == [
        ("task_submitted", task_id(1), None, None),
        ("cron_fired", task_id(1), "cron 1", None),
        ("cron_skipped", None, "cron 1", "the queue is full"),
    ]
    assert len({event.seq for event in desk.published}) == 3


def test_a_cron_lies_in_the_same_batch_as_its_task(
    durable: KeptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large group is written in slices: a crash between them must not part the two."""
    monkeypatch.setattr("ollama_queue.actors.store.task_store.SLICE_BYTES", 1)
    store = durable.open()
    group = CommitGroup()
    for number in (1, 2):
        group.insert(insert(number, cron_id=f"cron {number}"), START, number)
        group.note(SaveCron(a_cron(number), "cron_fired", task_id(number)), START, number)
    seen = []
    commit = store._commit

    def watched(batch: Any) -> None:
        commit(batch)
        tasks = [number for number in (1, 2) if store.record(task_id(number))]
        crons = [int(cron.id[-1]) for cron in store.recover().crons]
        seen.append((tasks, crons))

    monkeypatch.setattr(store, "_commit", watched)
    store.write(group)
    store.close()

    assert seen[:2] == [([1], [1]), ([1, 2], [1, 2])]


# --- the scheduler --------------------------------------------------------------------------------


def fire(office: SchedulerHarness, cron: Cron, ticker: Any, *, by_hand: bool = False) -> None:
    office.handle(SubmitCronRun(draft(task_of(cron)), cron, ticker, by_hand))


def test_a_run_is_one_commit_and_the_ticker_hears_of_it_afterwards() -> None:
    office = SchedulerHarness()
    ticker: Any = Recorder("ticker", office.log)
    mark = len(office.log)

    fire(office, a_cron(1, LATER), ticker)

    assert office.since(mark) == [
        ("persistence", "Commit"),
        ("worker 0", "Run"),
        ("ticker", "CronFired"),
    ]
    saves = [type(save).__name__ for save in office.commits[-1].saves]
    assert saves == ["Insert", "Change", "SaveCron"]
    ran = a_cron(1, LATER, run_count=1, last_run=START)
    assert ticker.told == [CronFired(ran)]
    assert office.commits[-1].saves[-1] == SaveCron(
        ran, "cron_fired", office.commits[-1].reply.task_id
    )


def test_a_skipped_run_saves_the_cron_alone() -> None:
    office = SchedulerHarness()
    ticker: Any = Recorder()
    cron = a_cron(1, LATER, overlap=Overlap.SKIP)
    fire(office, cron, ticker)
    fire(office, cron, ticker)

    commit = office.commits[-1]
    assert isinstance(commit, Commit)
    assert [type(save).__name__ for save in commit.saves] == ["SaveCron"]
    assert ticker.told[-1] == CronFired(cron)


def test_a_refused_run_by_hand_lets_go_of_the_cron_too() -> None:
    office = SchedulerHarness()
    ticker: Any = Recorder()
    cron = a_cron(1, overlap=Overlap.SKIP)
    fire(office, cron, ticker, by_hand=True)
    commits = len(office.commits)

    with pytest.raises(Conflict, match="may not overlap"):
        fire(office, cron, ticker, by_hand=True)

    assert len(office.commits) == commits
    assert ticker.told[-1] == CronFired(cron)
