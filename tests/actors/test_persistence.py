"""Persistence: nothing is said before it is durable, and a broken disk ends it."""

from pathlib import Path

import pytest

from ollama_queue.actors import persistence
from ollama_queue.actors.base.actor import ask, stop
from ollama_queue.actors.core.messages import (
    Commit,
    CountTasks,
    GetTask,
    ListTasks,
    Recover,
    RejectChange,
)
from ollama_queue.actors.core.model.errors import NotFound, OutcomeUnknown
from ollama_queue.actors.core.model.limits import ATTEMPTS
from ollama_queue.actors.core.model.orders import Change, DropKey, Remove, SetFlag
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.store.sentinel import read_sentinel
from tests.support.harness.persistence import PersistenceHarness
from tests.support.recorders import (
    PATIENCE_S,
    START,
    a_record,
    an_attempt,
    asked,
    completed,
    insert,
    started,
    task_id,
    value,
)
from tests.support.stores import KeptStore


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def priority(number: int, level: int) -> Change:
    return Change(task_id(number), {"priority": level}, "priority_updated")


# --- writing ------------------------------------------------------------------------------------


def test_a_commit_is_answered_once_it_is_durable(desk: PersistenceHarness) -> None:
    promise = desk.commit(insert(1), reply="taken on")
    assert not promise.is_kept

    desk.sync()

    assert value(promise) == "taken on"


def test_the_commit_of_a_change_answers_the_first_changed_record(
    desk: PersistenceHarness,
) -> None:
    promise = desk.change(insert(1), started(1), insert(2))
    desk.sync()

    record = value(promise)
    assert (record.id, record.status) == (task_id(1), Status.PENDING)


def test_commits_that_come_during_a_sync_share_the_next(desk: PersistenceHarness) -> None:
    first = desk.commit(insert(1))
    later = [desk.commit(insert(number)) for number in range(2, 30)]
    assert desk.syncer.count == 1

    desk.sync()
    assert first.is_kept
    assert not any(promise.is_kept for promise in later)
    assert desk.syncer.count == 2

    desk.sync()
    assert all(promise.is_kept for promise in later)
    assert (desk.syncer.count, desk.syncer.waiting) == (2, 0)


def test_an_empty_commit_is_answered_when_all_before_it_is_durable(
    desk: PersistenceHarness,
) -> None:
    assert value(desk.commit(reply=True)) is True

    desk.commit(insert(1))
    desk.commit(insert(2))
    drained = desk.commit(reply=True)
    desk.sync()
    assert not drained.is_kept

    desk.sync()
    assert value(drained) is True


def test_an_empty_commit_behind_a_sync_needs_none_of_its_own(desk: PersistenceHarness) -> None:
    desk.commit(insert(1))
    drained = desk.commit(reply=True)

    desk.sync()

    assert value(drained) is True
    assert desk.syncer.count == 1


def test_events_follow_the_sync_in_the_order_of_commits(desk: PersistenceHarness) -> None:
    desk.commit(insert(1), started(1))
    desk.commit(completed(1), SetFlag("paused", True, "queue_paused"))
    assert desk.published == []

    desk.sync()
    assert [event.event for event in desk.published] == ["task_submitted", "task_started"]
    desk.sync()

    events = desk.published
    assert [event.event for event in events[2:]] == ["task_completed", "queue_paused"]
    first = events[0].seq
    assert [event.seq for event in events] == [first, first + 1, first + 2, first + 3]
    assert [event.task.seq for event in events if event.task] == [first, first + 1, first + 2]
    assert value(desk.get(1)).record.seq == first + 2


def test_numbers_of_events_grow_from_boot_to_boot(durable: KeptStore) -> None:
    seqs = []
    for number in range(2):
        desk = PersistenceHarness(durable)
        desk.saved(insert(number))
        seqs.append(desk.published[0].seq)
        desk.close()

    assert seqs == [(1 << 32) + 1, (2 << 32) + 1]


def test_only_so_many_attempts_are_kept(desk: PersistenceHarness) -> None:
    desk.saved(insert(1))
    for number in range(1, ATTEMPTS + 6):
        desk.commit(Change(task_id(1), {}, "task_retrying", ended=an_attempt(number)))
    desk.sync()
    desk.sync()

    kept = value(desk.get(1)).record.attempts
    assert [ended.attempt for ended in kept] == list(range(6, ATTEMPTS + 6))


def test_flags_and_dropped_keys_are_durable(durable: KeptStore) -> None:
    desk = PersistenceHarness(durable)
    desk.saved(insert(1, key=b"a" * 16), insert(2, key=b"b" * 16))
    desk.saved(SetFlag("paused", True, "queue_paused"), DropKey(b"a" * 16))
    desk.close()

    desk = PersistenceHarness(durable)
    recovered = ask(desk.ref, Recover())
    desk.close()

    assert recovered.flags == {"paused": True}
    assert [key for key, _ in recovered.keys] == [b"b" * 16]


def test_relaxed_durability_syncs_behind_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "RELAXED_SYNC_S", 0.0)
    desk = PersistenceHarness(tmp_path / "data", durable=False)
    noted = read_sentinel(tmp_path / "data")
    assert desk.commit(insert(1)).is_kept  # nobody waits for the sync
    desk.sync()
    again = read_sentinel(tmp_path / "data")

    assert noted is not None and again is not None and again.changes > noted.changes
    desk.commit(insert(2))
    desk.syncer.run("no such disk")
    assert "no such disk" in desk.reports.get(timeout=PATIENCE_S)


def test_relaxed_durability_answers_without_a_sync(durable: KeptStore) -> None:
    desk = PersistenceHarness(durable, durable=False)

    assert desk.commit(insert(1), reply=1).is_kept
    assert value(desk.get(1)).record.id == task_id(1)
    assert (desk.syncer.count, len(desk.published)) == (0, 1)
    desk.close()


def test_a_removed_task_leaves_nothing_behind(desk: PersistenceHarness) -> None:
    desk.saved(insert(1, key=b"k" * 16), started(1), completed(1))
    gone = desk.change(Remove(task_id(1)), DropKey(b"k" * 16))
    desk.sync()

    assert value(gone).id == task_id(1)
    assert desk.published[-1].event == "task_deleted"
    recovered = value(desk.ask(Recover()))
    assert (recovered.waiting, recovered.running, recovered.keys) == ([], [], [])
    counts = value(desk.ask(CountTasks())).by_status
    assert sum(sum(levels.values()) for levels in counts.values()) == 0
    for message in (GetTask(task_id(1)), RejectChange(task_id(1), "cancelled")):
        with pytest.raises(NotFound):
            value(desk.ask(message))


def test_a_call_of_a_removed_task_starts_without_a_spec(desk: PersistenceHarness) -> None:
    """After a loss that the user accepted, a spec may be missing; no reason to crash."""
    desk.saved(insert(1, status=Status.CANCELLED))
    desk.commit(insert(2))
    desk.commit(Remove(task_id(1)))

    assert desk.starts(1) == [None]


# --- failure ------------------------------------------------------------------------------------


def test_a_failed_sync_ends_it_and_breaks_every_promise(desk: PersistenceHarness) -> None:
    in_flight, gathering = desk.commit(insert(1)), desk.commit(insert(2))
    promises = [in_flight, gathering, desk.get(1), desk.get(2), desk.ask(ListTasks(TaskFilter()))]

    desk.syncer.run(error="Input/output error")

    assert desk.reports.get(timeout=PATIENCE_S) == "StoreError: fsync: Input/output error"
    for promise in [*promises, asked(desk.ref, CountTasks())]:
        with pytest.raises(OutcomeUnknown):
            promise.get(timeout=PATIENCE_S)
    assert desk.published == []


def test_a_failed_scan_ends_it(desk: PersistenceHarness) -> None:
    page = desk.ask(ListTasks(TaskFilter()))
    desk.scanner.run(error="Corruption: block checksum mismatch")

    with pytest.raises(OutcomeUnknown):
        page.get(timeout=PATIENCE_S)
    assert "block checksum mismatch" in desk.reports.get(timeout=PATIENCE_S)


def test_a_change_of_an_unknown_task_is_a_mistake_of_ours(desk: PersistenceHarness) -> None:
    promise = asked(desk.ref, Commit((started(1),), START, None))

    with pytest.raises(OutcomeUnknown):
        promise.get(timeout=PATIENCE_S)
    assert "not stored" in desk.reports.get(timeout=PATIENCE_S)


def test_a_crash_lets_go_of_the_store(desk: PersistenceHarness) -> None:
    desk.saved(insert(1))
    desk.commit(insert(2))
    desk.syncer.run(error="Input/output error")
    desk.close()

    store = desk.kept.open()
    assert store.record(task_id(1)) == a_record(1, seq=(1 << 32) + 1)
    store.close()


def test_a_disk_that_does_not_answer_cannot_be_closed(desk: PersistenceHarness) -> None:
    desk.commit(insert(1))
    desk.syncer.hangs = True

    assert not stop(desk.ref, PATIENCE_S)
