"""A store of an older format is given its rows anew, once; a crash in between costs none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rocksdict import Options, Rdict, WriteBatch

from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.store import migrations
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.encoding import FAMILIES, STATUS_CODE, encode
from ollama_queue.actors.store.page_reader import scan
from ollama_queue.actors.store.rocksdb import Store
from tests.support.recorders import a_record, at

CRON = mint(1, 1)
TENANTS = ("ann", "bob", None)


def a_task(number: int) -> Record:
    status = list(Status)[number % 5]
    return a_record(
        number,
        status=status,
        priority=number % 3 + 1,
        cron_id=CRON if number % 2 else None,
        tenant=TENANTS[number % 3],
        started_at=None if status is Status.PENDING else at(100 - number),
        completed_at=at(200 - number) if status.is_final else None,
    )


def stored(folder: Path, count: int) -> list[Record]:
    store = Store(str(folder), None)
    tasks = [a_task(number) for number in range(count)]
    group = CommitGroup()
    group.rows = {task.id: TaskWrite(task, None, b"{}") for task in tasks}
    store.write(group)
    store.close()
    return tasks


def first_format(folder: Path, count: int) -> list[Record]:
    """A store as version 0.1.0 wrote it: tasks by status alone."""
    tasks = stored(folder, count)
    with raw(folder) as (db, index, handles):
        batch = WriteBatch(raw_mode=True)
        for key in list(index.keys()):
            batch.delete(key, handles["index"])
        for task in tasks:
            entry = b"" if task.status.is_final else encode(entry_of(task))
            batch.put(STATUS_CODE[task.status] + task.id.encode(), entry, handles["index"])
        batch.put(b"format", b"1", handles["meta"])
        db.write(batch)
    return tasks


def second_format(folder: Path, count: int) -> list[Record]:
    """One whose rows of live tasks held the words of their last failure before their cron."""
    tasks = stored(folder, count)
    with raw(folder) as (db, index, handles):
        batch = WriteBatch(raw_mode=True)
        for key, value in list(index.items()):
            if value:
                entry = msgspec.msgpack.decode(value)
                batch.put(key, encode([*entry[:12], "500: no", *entry[12:]]), handles["index"])
        batch.put(b"format", b"2", handles["meta"])
        db.write(batch)
    return tasks


def third_format(folder: Path, count: int) -> list[Record]:
    """One that kept no rows and counts of tenants."""
    tasks = stored(folder, count)
    with raw(folder) as (db, index, handles):
        batch = WriteBatch(raw_mode=True)
        for key in list(index.keys()):
            if key.startswith(b"n"):
                batch.delete(key, handles["index"])
        for tenant in TENANTS[:2]:
            batch.delete(f"tenant:{tenant}".encode(), handles["meta"])
        batch.put(b"format", b"3", handles["meta"])
        db.write(batch)
    return tasks


@contextmanager
def raw(folder: Path) -> Iterator[tuple[Rdict, Rdict, dict[str, Any]]]:
    """The store as RocksDB has it: all of it, its index, and what its writes name."""
    families = {name: Options(raw_mode=True) for name in FAMILIES}
    db = Rdict(str(folder / "rocksdb"), Options(raw_mode=True), column_families=families)
    handles = {name: db.get_column_family_handle(name) for name in FAMILIES}
    index = db.get_column_family("index")
    yield db, index, handles
    index.close()
    handles.clear()
    db.close()


def rows(store: Store) -> list[bytes]:
    return list(store._families["index"].keys())


def listed(store: Store, **wanted: Any) -> list[str]:
    return [record.id for record in scan(store, TaskFilter(**wanted))().records]


def check(store: Store, tasks: list[Record], folder: Path) -> None:
    """Its lists are those of a store that had these rows from the start."""
    group = CommitGroup()
    group.rows = {task.id: TaskWrite(task, None, b"{}") for task in tasks}
    other = Store(str(folder), None)
    other.write(group)
    assert rows(store) == rows(other)
    assert store._families["meta"].get(b"format") == b"%d" % migrations.FORMAT
    other.close()


@pytest.mark.parametrize("older", [first_format, second_format, third_format])
def test_an_older_store_lists_as_a_new_one(tmp_path: Path, older: Any) -> None:
    tasks = older(tmp_path / "old", 20)

    store = Store(str(tmp_path / "old"), None)

    check(store, tasks, tmp_path / "new")
    failed = [task.id for task in tasks if task.status is Status.FAILED]
    assert listed(store, status=[Status.FAILED]) == failed[::-1]
    assert listed(store, sort="ended", status=[Status.FAILED]) == failed
    assert listed(store, cron_id=[CRON]) == [task.id for task in tasks[::-1] if task.cron_id]
    for tenant in ("ann", "bob"):
        own = [task for task in tasks if task.tenant == tenant]
        assert listed(store, tenant=[tenant]) == [task.id for task in own[::-1]]
        counts = store.counts_of(tenant)
        assert sum(map(counts.total, Status)) == len(own)
        assert counts.total(Status.FAILED) == sum(t.status is Status.FAILED for t in own)
        assert scan(store, TaskFilter(tenant=[tenant]))().total == len(own)
    found = store.recover()
    for status, live in ((Status.PENDING, found.waiting), (Status.RUNNING, found.running)):
        expected = [entry_of(task) for task in tasks if task.status is status]
        assert sorted(live, key=lambda entry: entry.id) == expected
    store.close()


def test_a_crash_in_between_is_made_up_for(tmp_path: Path, monkeypatch: Any) -> None:
    tasks = first_format(tmp_path / "old", 20)
    monkeypatch.setattr(migrations, "SLICE_TASKS", 3)
    seen = []

    def crash(raw: bytes) -> Record:
        seen.append(raw)
        if len(seen) == 11:
            raise OSError("on purpose")
        return decode(raw)

    decode = migrations.decode_record
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "decode_record", crash)
        with pytest.raises(Unavailable, match="on purpose"):
            Store(str(tmp_path / "old"), None)

    store = Store(str(tmp_path / "old"), None)
    check(store, tasks, tmp_path / "new")
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "decode_record", None)  # nothing is read again
        Store(str(tmp_path / "old"), None).close()
