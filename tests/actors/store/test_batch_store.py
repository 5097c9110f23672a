"""Batches in the store: written in slices, there all at once, gone after a crash in between."""

import pytest
from msgspec.structs import replace

from ollama_queue import Unavailable
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Batch, Status
from ollama_queue.actors.store import batches, task_store
from ollama_queue.actors.store.commit_group import CommitGroup, HiddenTasks, SealedBatch, TaskWrite
from ollama_queue.actors.store.page_reader import scan
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.recorders import a_record, at, unseen
from tests.support.stores import KeptStore

BATCH = Batch(id="b" * 36, created_at=at(0), total=4, pending=4)
KEY = b"k" * 16


def records(*numbers: int) -> list:
    return [replace(a_record(number), batch_id=BATCH.id) for number in numbers]


def write_slice(store: TaskStore, *numbers: int) -> None:
    rows = [TaskWrite(record, None, b"{}") for record in records(*numbers)]
    store.write_slice(BATCH.id, rows, HiddenTasks())


def seal(store: TaskStore) -> None:
    group = CommitGroup()
    group.sealed.append(SealedBatch(BATCH, unseen(*records(1, 2, 3, 4)), KEY, b"body"))
    store.write(group)


def listed(store: TaskStore) -> int:
    return len(scan(store, TaskFilter())().records)


def test_slices_are_hidden_until_the_seal(kept: KeptStore) -> None:
    store = kept.open()
    write_slice(store, 1, 2)
    write_slice(store, 3, 4)
    assert (store.counts.total(Status.PENDING), store.batches.get(BATCH.id)) == (0, None)
    assert listed(store) == 0

    seal(store)

    assert (store.counts.total(Status.PENDING), store.batches.get(BATCH.id)) == (4, BATCH)
    assert store.batches.task_ids(BATCH.id) == [record.id for record in records(1, 2, 3, 4)]
    store.close()


def test_a_crash_between_the_slices_leaves_nothing(kept: KeptStore) -> None:
    store = kept.open()
    write_slice(store, 1, 2)
    store.sync(store.written())
    store.close()

    again = kept.open()
    recovered = again.recover()

    assert (recovered.waiting, recovered.keys, listed(again)) == ([], [], 0)
    assert again.batches.task_ids(BATCH.id) == []
    assert again.spec(records(1)[0].id) is None
    assert again.counts.total(Status.PENDING) == 0
    again.close()


def test_a_large_one_is_deleted_in_portions(
    kept: KeptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boot that ends in between leaves the rest to the next."""
    monkeypatch.setattr(batches, "SLICE_ROWS", 2)
    monkeypatch.setattr(task_store, "_MOST_UNWRITTEN", 0)
    store = kept.open()
    write_slice(store, 1, 2, 3, 4, 5)
    store.sync(store.written())
    store.close()
    second = kept.open()
    with monkeypatch.context() as patch:
        portions = iter([second._commit])
        patch.setattr(second, "_commit", lambda batch: next(portions)(batch))
        with pytest.raises((StopIteration, Unavailable)):  # as RocksDB has it
            second.recover()
    assert len(second.batches.task_ids(BATCH.id)) == 3
    second.close()

    third = kept.open()
    assert third.recover().waiting == []
    assert (third.batches.task_ids(BATCH.id), third.batches.unfinished()) == ([], [])
    assert [third.spec(record.id) for record in records(1, 5)] == [None, None]
    third.close()


def test_a_sealed_batch_is_recovered_whole(kept: KeptStore) -> None:
    store = kept.open()
    write_slice(store, 1, 2, 3, 4)
    seal(store)
    store.close()

    again = kept.open()
    recovered = again.recover()

    assert [entry.id for entry in recovered.waiting] == [r.id for r in records(1, 2, 3, 4)]
    assert [(key, keyed.task_id) for key, keyed in recovered.keys] == [(KEY, BATCH.id)]
    assert again.batches.newest(10, None)() == [BATCH]
    again.close()


def test_its_counts_follow_its_tasks(kept: KeptStore) -> None:
    store = kept.open()
    write_slice(store, 1, 2, 3, 4)
    seal(store)
    one, two = records(1, 2)
    running, over = (replace(one, status=Status.RUNNING), replace(one, status=Status.COMPLETED))
    group = CommitGroup()
    group.rows = {one.id: TaskWrite(running, one), two.id: TaskWrite(replace(two, priority=9), two)}
    store.write(group)
    assert store.batches.get(BATCH.id) == replace(BATCH, pending=3, running=1)

    group = CommitGroup()
    group.rows = {one.id: TaskWrite(over, running)}
    store.write(group)
    store.close()

    again = kept.open()
    assert again.batches.get(BATCH.id) == replace(BATCH, pending=3, completed=1)
    again.close()
