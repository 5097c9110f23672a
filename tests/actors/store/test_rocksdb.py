"""The store: what was written is what is read."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.core.model.entry import KeyUse, entry_of
from ollama_queue.actors.core.model.ids import instant_of
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.store.commit_group import TaskWrite
from ollama_queue.actors.store.rocksdb import Store
from tests.support.raw_store import PENDING, RUNNING, group, listed, write
from tests.support.recorders import a_record, an_attempt, at, task_id

# --- what is written is what is read ------------------------------------------------------------


def test_a_task_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = a_record(1, tags=["a"], attempts=[an_attempt(1, "cut")], scheduled_at=at(9), seq=7)
    store = Store(str(tmp_path), None)
    store.write(group(TaskWrite(record, None, b"the spec", b"the result")))
    store.sync(store.written())
    store.close()

    store = Store(str(tmp_path), None)
    assert store.record(record.id) == record
    assert (store.spec(record.id), store.result(record.id)) == (b"the spec", b"the result")
    assert [store.record("x"), store.spec("x"), store.result("x")] == [None, None, None]
    store.close()


def test_each_boot_has_the_next_number(tmp_path: Path) -> None:
    boots = []
    for _ in range(3):
        store = Store(str(tmp_path), None)
        boots.append(store.boot)
        store.close()

    assert boots == [1, 2, 3]


def test_recovering_gives_back_all_that_a_plan_needs(tmp_path: Path) -> None:
    waits = a_record(1, next_attempt_at=at(500), attempt=2)
    runs = a_record(2, status=RUNNING, attempt=1, key=b"k" * 16)
    over = a_record(3, status=Status.COMPLETED, key=b"o" * 16)
    store = Store(str(tmp_path), None)
    write(store, waits, runs, over)
    changes = group()
    changes.flags |= {"paused": True, "drained": False}
    changes.dropped_keys.append(b"o" * 16)
    store.write(changes)
    store.close()

    store = Store(str(tmp_path), None)
    recovered = store.recover()
    store.close()

    assert (recovered.waiting, recovered.running) == ([entry_of(waits)], [entry_of(runs)])
    assert recovered.keys == [(b"k" * 16, KeyUse(runs.id, b"body", at(2).timestamp()))]
    assert recovered.flags == {"paused": True, "drained": False}
    assert (recovered.last_us, recovered.last_at) == (instant_of(over.id), at(3).timestamp())


def test_a_new_store_has_nothing_to_recover(tmp_path: Path) -> None:
    store = Store(str(tmp_path), None)
    recovered = store.recover()
    store.close()

    assert (recovered.waiting, recovered.running, recovered.keys) == ([], [], [])
    assert (recovered.flags, recovered.last_us) == ({}, 0)


changes = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(Status), st.integers(1, 3)), max_size=30
)


@settings(max_examples=25)
@given(changes, st.integers(0, 30))
def test_counts_equal_what_is_stored(drawn: list[tuple[int, Status, int]], reopened: int) -> None:
    records: dict[int, Record] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, None)
        for step, (number, status, priority) in enumerate(drawn):
            was = records.get(number)
            record = a_record(number, status=status, priority=priority)
            write(store, record, was=was)
            records[number] = record
            if step == reopened:
                store.close()
                store = Store(folder, None)
        stored = [r for number in range(8) if (r := store.record(task_id(number)))]
        counted = Counter((r.status.value, r.priority) for r in stored)
        kept = {
            (status, level): count
            for status, levels in store.counts.by_status.items()
            for level, count in levels.items()
            if count
        }
        waiting = sorted(entry.id for entry in store.recover().waiting)
        store.close()

    assert stored == [records[number] for number in sorted(records)]
    assert kept == counted
    assert waiting == [r.id for r in stored if r.status is PENDING]


def test_a_large_batch_is_written_in_slices(tmp_path: Path) -> None:
    rows = [TaskWrite(a_record(number), None, b"x" * 300_000) for number in range(10)]
    store = Store(str(tmp_path), None)
    store.write(group(*rows))
    store.close()

    store = Store(str(tmp_path), None)
    assert listed(store) == list(range(9, -1, -1))
    assert store.counts.by_status == {"pending": {5: 10}}
    store.close()


# --- lists --------------------------------------------------------------------------------------


def test_lists_come_newest_first_in_pages(tmp_path: Path) -> None:
    states = [PENDING, RUNNING, Status.FAILED, Status.PENDING, Status.COMPLETED]
    store = Store(str(tmp_path), None)
    write(store, *(a_record(number, status=states[number % 5]) for number in range(20)))

    assert listed(store) == list(range(19, -1, -1))
    assert listed(store, limit=3, offset=4) == [15, 14, 13]
    assert listed(store, offset=20) == []
    assert listed(store, status=[Status.FAILED]) == [17, 12, 7, 2]
    assert listed(store, status=[Status.FAILED, RUNNING], limit=3, offset=1) == [16, 12, 11]
    assert listed(store, status=[PENDING, PENDING]) == [18, 15, 13, 10, 8, 5, 3, 0]
    assert listed(store, status=[Status.CANCELLED]) == []
    store.close()


def test_a_task_that_changes_leaves_its_old_list(tmp_path: Path) -> None:
    first = a_record(1)
    store = Store(str(tmp_path), None)
    write(store, first)
    write(store, replace(first, status=Status.CANCELLED), was=first)

    assert (listed(store, status=[PENDING]), listed(store, status=[Status.CANCELLED])) == ([], [1])
    store.close()
