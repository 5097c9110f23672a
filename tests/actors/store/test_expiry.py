"""Which ended tasks go: the oldest beyond so many or of such an age, but not of a live batch."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.core.messages import Expired, FindExpired
from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.tasks import Batch, Record, Status
from ollama_queue.actors.store import expiry
from ollama_queue.actors.store.commit_group import CommitGroup, HiddenTasks, SealedBatch, TaskWrite
from ollama_queue.actors.store.expiry import find_expired
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.recorders import a_record, at
from tests.support.stores import KINDS, KeptStore, NewStores

ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
BATCH = Batch(id=mint(1, 1), created_at=at(0), total=2, pending=2)


def a_task(number: int, ended: float | None, batch_id: str | None = None) -> Record:
    """Its id has 36 characters, as ids have."""
    made = a_record(number, id=mint(number, 0), seq=number, batch_id=batch_id)
    if ended is None:
        return made
    return replace(made, status=ENDS[number % 3], completed_at=at(ended))


def save(store: TaskStore, *tasks: Record) -> None:
    group = CommitGroup()
    group.rows = {task.id: TaskWrite(task, None, b"{}") for task in tasks}
    store.write(group)


def remove(store: TaskStore, *tasks: Record) -> None:
    group = CommitGroup()
    group.removed = {task.id: task for task in tasks}
    store.write(group)


def seal(store: TaskStore, *tasks: Record) -> Batch:
    """A batch of these, as they are before they end."""
    waiting = [
        replace(task, status=Status.PENDING, completed_at=None, batch_id=BATCH.id) for task in tasks
    ]
    batch = replace(BATCH, total=len(tasks), pending=len(tasks))
    written = HiddenTasks()
    store.write_slice(BATCH.id, [TaskWrite(task, None, b"{}") for task in waiting], written)
    group = CommitGroup()
    group.sealed.append(SealedBatch(batch, written, None, b""))
    store.write(group)
    group = CommitGroup()
    group.rows = {
        now.id: TaskWrite(now, was) for now, was in zip(tasks, waiting, strict=True) if now != was
    }
    store.write(group)
    return batch


def sweep(store: TaskStore, asked: FindExpired) -> list[str]:
    """All that goes, slice by slice, each deleted before the next is looked for."""
    gone: list[str] = []
    rest: FindExpired | None = asked
    while rest is not None:
        found: Expired = find_expired(store, rest)()
        for delete in found.deletes:
            record = store.record(delete.task_id)
            assert record is not None
            assert delete.means(record)
            remove(store, record)
        gone += [delete.task_id for delete in found.deletes]
        rest = found.rest
    return gone


numbers = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 20)), st.booleans()), max_size=25)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(numbers, st.integers(0, 12), st.one_of(st.none(), st.integers(0, 21)), st.booleans())
def test_the_newest_stay_and_all_else_goes(
    stores: NewStores,
    kind: str,
    drawn: list[tuple[int | None, bool]],
    keep: int,
    before: int | None,
    is_over: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expiry, "SLICE_TASKS", 3)
        patch.setattr(expiry, "FEW", 4)
        store = stores.new(kind).open()
        tasks = [a_task(n, ended) for n, (ended, _) in enumerate(drawn)]
        batched = [
            replace(task, batch_id=BATCH.id)
            for task, (ended, is_batched) in zip(tasks, drawn, strict=True)
            if is_batched and (ended is not None or not is_over)
        ]
        loose = [task for task in tasks if task.id not in {each.id for each in batched}]
        save(store, *loose)
        seal(store, *batched)

        gone = sweep(store, FindExpired(keep, None if before is None else at(before)))

        stored = [*loose, *batched]
        ended = sorted(
            (t for t in stored if t.completed_at is not None),
            key=lambda t: (t.completed_at, t.id),
        )
        live = any(task.completed_at is None for task in batched)
        expected = [
            task.id
            for rank, task in enumerate(ended)
            if rank < len(ended) - keep or (before is not None and task.completed_at < at(before))
            if not (live and task.batch_id)
        ]
        assert gone == expected
        left = {task.id for task in stored} - set(gone)
        assert {task.id for task in stored if store.record(task.id)} == left
        counted = sum(store.counts.total(status) for status in Status)
        assert counted == len(left)
        batch = store.batches.get(BATCH.id)
        held = [task for task in batched if task.id in left]
        assert (batch.held if batch else 0) == len(held)
        store.close()


def test_a_slice_is_bounded(kept: KeptStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(expiry, "SLICE_TASKS", 2)
    store = kept.open()
    tasks = [a_task(n, ended=n) for n in range(5)]
    save(store, *tasks)

    found = find_expired(store, FindExpired(1, None))()

    assert [delete.task_id for delete in found.deletes] == [task.id for task in tasks[:2]]
    assert found.rest is not None
    assert found.rest.passed == 0
    store.close()


def test_a_batch_whose_tasks_are_gone_is_gone(kept: KeptStore) -> None:
    store = kept.open()
    one, two = (a_task(n, ended=n, batch_id=BATCH.id) for n in (1, 2))
    seal(store, one, two)

    remove(store, one)
    assert store.batches.get(BATCH.id) == replace(BATCH, pending=0, **{ENDS[2].value: 1})
    remove(store, two)

    assert (store.batches.get(BATCH.id), store.batches.newest(10, None)()) == (None, [])
    assert store.batches.task_ids(BATCH.id) == []
    store.close()


def test_a_removed_task_leaves_no_row(kept: KeptStore) -> None:
    store = kept.open()
    task = replace(a_task(1, ended=9), started_at=at(3), cron_id=mint(2, 2))
    seal(store, replace(task, batch_id=BATCH.id))
    remove(store, replace(task, batch_id=BATCH.id))

    assert list(store._tables["index"].between(b"", b"\xff")) == []
    store.close()
