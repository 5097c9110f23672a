"""The groups of failures are those of what is stored, also after changes during the count."""

import pytest

from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.reading.failure_counts import FailureCounts
from ollama_queue.actors.store import page_reader
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.page_reader import failures_of
from ollama_queue.actors.store.task_store import TaskStore
from tests.actors.core.activity.test_failure_tallies import tallied
from tests.support.recorders import a_record, at
from tests.support.stores import KINDS, NewStores


def failed(number: int) -> Record:
    return a_record(
        number, status=Status.FAILED, error=f"cause {'abc'[number % 3]}", completed_at=at(number)
    )


def write(store: TaskStore, counts: FailureCounts, *changes: tuple[Record | None, Record]) -> None:
    group = CommitGroup()
    for was, record in changes:
        spec = b"{}" if was is None else None
        group.rows[record.id] = TaskWrite(record, was, spec)
    store.write(group)
    store.sync(store.written())
    counts.note(group)


def remove(store: TaskStore, counts: FailureCounts, *records: Record) -> None:
    group = CommitGroup()
    group.removed = {record.id: record for record in records}
    store.write(group)
    store.sync(store.written())
    counts.note(group)


@pytest.mark.parametrize("kind", KINDS)
def test_changes_during_the_count_are_counted_once(
    kind: str, stores: NewStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_reader, "COUNTED_TOGETHER", 4)
    store = stores.new(kind).open()
    counts = FailureCounts()
    tasks = [failed(number) for number in range(20)]
    write(store, counts, *((None, task) for task in tasks))
    assert counts.groups(10, None) is None

    begun = [counts.ask(None, 10, None), counts.ask(None, 1, None)]
    assert begun == [True, False], "the tasks are read once"
    read = store.reading(failures_of(store))
    found = read()
    if kind == "memory":  # read at once, in the thread that writes
        assert found is not None
        answers = list(counts.counted(found))
        assert [len(groups) for _, groups in answers] == [3, 1]
    new = [failed(number) for number in range(20, 26)]
    retried = a_record(19, status=Status.PENDING)
    write(store, counts, *((None, task) for task in new), (tasks[19], retried))
    remove(store, counts, tasks[0], tasks[18])
    while found is None:
        found = read()
        if found is not None:
            answers = list(counts.counted(found))
            assert [len(groups) for _, groups in answers] == [3, 1]

    left = [*tasks[1:18], *new]
    groups, expected = counts.groups(10, None), tallied(left).groups(10)
    assert groups is not None
    assert [(g.words, g.count) for g in groups] == [(g.words, g.count) for g in expected]
    remove(store, counts, *left)
    assert counts.groups(10, None) == []
    store.close()
