"""A snapshot of a store that is written to is one moment of it, however fast its files change."""

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from ollama_queue.actors.backup.folders import snapshot_to_read
from ollama_queue.actors.backup.store_reader import StoreReader
from ollama_queue.actors.backup.verification import check_records
from ollama_queue.actors.core.model.stats import StoreSnapshot
from ollama_queue.actors.core.model.tasks import Record, Status
from ollama_queue.actors.files import snapshots
from ollama_queue.actors.files.snapshots import copy_rocksdb
from ollama_queue.actors.store import rocksdb_setup
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.rocksdb import Store
from tests.support.recorders import a_record, at

SPEC = b'{"payload":{"prompt":"%s"}}' % (b"x" * 400)


class Writer(threading.Thread):
    """Writes groups that touch every family: new tasks, some of the last ones failed, some gone."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self.store, self.written, self.over = store, 0, threading.Event()

    def run(self) -> None:
        before: list[Record] = []
        while not self.over.is_set():
            group, number = CommitGroup(), self.written
            tasks = [a_record(number * 50 + n) for n in range(50)]
            group.rows = {task.id: TaskWrite(task, None, SPEC) for task in tasks}
            for was in before[:25]:
                failed = replace(was, status=Status.FAILED, completed_at=at(number))
                group.rows[was.id] = TaskWrite(failed, was)
            group.removed = {task.id: task for task in before[25:30]}
            self.store.write(group)
            self.store.sync(self.store.written())
            before, self.written = tasks, number + 1


def taken(store: Store) -> StoreSnapshot:
    return StoreSnapshot(path=store.take_snapshot(), taken_at=at(0), tasks=0)


def test_all_families_are_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocksdb_setup, "JOURNAL_BYTES", 1 << 20)  # new files all the time
    store = Store(str(tmp_path), None)
    writer = Writer(store)
    writer.start()
    try:
        for _ in range(5):
            written = writer.written
            with snapshot_to_read(tmp_path, lambda: taken(store)) as snapshot:
                folder = Path(snapshot.path)
                assert [str(fault) for fault in check_records(folder)] == []
                with StoreReader(folder / "rocksdb") as reader:
                    assert sum(1 for _ in reader.rows("tasks")) >= 45 * written
    finally:
        writer.over.set()
        writer.join()
        store.close()


@pytest.fixture
def rocks(tmp_path: Path) -> Path:
    folder = tmp_path / "rocksdb"
    folder.mkdir()
    for name in ("000001.sst", "000002.log", "MANIFEST-000003", "rocksdict-config.json"):
        (folder / name).write_text(name)
    (folder / "CURRENT").write_text("MANIFEST-000003\n")
    return folder


def test_a_journal_that_may_have_been_missed_means_another_try(
    rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def copied(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())
        if source.name.startswith("MANIFEST") and len(tries) < 3:
            tries.append(source.name)
            (rocks / f"{len(tries) + 1:06d}.log").rename(rocks / f"{len(tries) + 2:06d}.log")

    monkeypatch.setattr(snapshots.shutil, "copyfile", copied)
    copy_rocksdb(rocks, tmp_path / "copy")
    assert len(tries) == 3
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {path.name for path in rocks.iterdir()}
    assert (tmp_path / "copy" / "000005.log").stat().st_ino != (rocks / "000005.log").stat().st_ino


def test_one_that_always_changes_is_given_up(
    rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_link_all", lambda rocks, target: False)
    with pytest.raises(OSError, match="the journal changes too fast"):
        copy_rocksdb(rocks, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
