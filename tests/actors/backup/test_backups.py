"""A backup is complete or not there, and makes a queue that has all that the first one had."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import BackupManifest, Conflict, Invalid, Unavailable, generate_task
from ollama_queue.actors.backup import folders
from ollama_queue.actors.backup.check import check_folder, repair
from ollama_queue.actors.backup.folders import back_up, restore, snapshot_of_closed
from ollama_queue.actors.core.model.errors import NotFound
from ollama_queue.testing import InMemoryQueue
from tests.support.full_queue import KEY, add_file, everything, full_queue, reopened


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in check_folder(folder)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    with full_queue(tmp_path / "data"):
        pass
    return tmp_path / "data"


def of_closed(data: Path, target: Path) -> BackupManifest:
    return back_up(target, data, lambda: snapshot_of_closed(data))


def test_a_backup_of_an_open_queue_restores_all_of_it(tmp_path: Path) -> None:
    with full_queue(tmp_path / "data") as queue:
        before = everything(queue)
        manifest = queue.backup(tmp_path / "backup")
        queue.submit_task(generate_task("m", "after"))
        assert everything(queue) != before

    assert faults(tmp_path / "backup") == []
    held = {status: count for status, count in manifest.tasks.items() if count}
    assert held == {"completed": 1, "failed": 1, "cancelled": 1, "pending": 22}
    assert (manifest.crons, manifest.batches, manifest.stored_files) == (1, 1, 1)
    assert restore(tmp_path / "backup", tmp_path / "new") == manifest
    assert faults(tmp_path / "new") == []
    with reopened(tmp_path / "new") as queue:
        assert everything(queue) == before
        again = queue.submit(generate_task("m", "keyed", priority=3), idempotency_key=KEY)
        assert not again.created
    assert faults(tmp_path / "new") == faults(tmp_path / "data") == []


def test_a_backup_of_a_closed_queue_restores_all_of_it(closed: Path, tmp_path: Path) -> None:
    inodes = {path.name: path.stat().st_ino for path in (closed / "rocksdb").glob("*.sst")}
    of_closed(closed, tmp_path / "backup")

    assert faults(tmp_path / "backup") == []
    restore(tmp_path / "backup", tmp_path / "new")
    with reopened(closed) as queue:
        before = everything(queue)
    with reopened(tmp_path / "new") as queue:
        assert everything(queue) == before
    for path in (tmp_path / "new" / "rocksdb").glob("*.sst"):
        assert path.stat().st_ino not in inodes.values(), "it shares no file with the first"


def test_a_folder_that_was_emptied_may_be_restored_to(closed: Path, tmp_path: Path) -> None:
    of_closed(closed, tmp_path / "backup")
    for path in closed.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(Unavailable, match="has been emptied"):
        reopened(closed).start()
    for path in closed.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    restore(tmp_path / "backup", closed)

    assert faults(closed) == []
    with reopened(closed) as queue:
        assert queue.get_queue_stats().completed_tasks == 1


def test_on_another_disk_a_backup_is_a_copy(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "snapshot":
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    of_closed(closed, tmp_path / "backup")
    assert faults(tmp_path / "backup") == []
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "backup").rglob("*.sst"))
    assert "snapshot" not in names(closed)


def test_all_that_a_backup_has_is_private(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with full_queue(tmp_path / "data") as queue:
            queue.backup(tmp_path / "backup")
        restore(tmp_path / "backup", tmp_path / "new")
    finally:
        os.umask(umask)
    for folder in ("backup", "new"):
        for path in (tmp_path / folder, *(tmp_path / folder).rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path


def test_bytes_of_a_deleted_or_unfinished_file_are_not_kept(tmp_path: Path) -> None:
    with full_queue(tmp_path / "data") as queue:
        deleted = add_file(queue, b"x")
        with queue.new_file() as unfinished:
            unfinished.write(b"y" * 300_000)
            queue.take_snapshot()
            queue.delete_file(deleted)
            assert (tmp_path / "data" / "snapshot" / "files" / deleted).exists()
            assert queue.backup(tmp_path / "backup").stored_files == 1
    assert len(names(tmp_path / "backup" / "files")) == 1
    assert faults(tmp_path / "backup") == []


def test_a_backup_replaces_nothing(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").touch()
    with pytest.raises(Conflict, match="is not empty"):
        of_closed(closed, tmp_path / "backup")
    assert names(tmp_path / "backup") == {"mine"}
    (tmp_path / "backup" / "mine").unlink()
    of_closed(closed, tmp_path / "backup")  # an empty one is as good as none
    with pytest.raises(Conflict, match="is not empty"):
        of_closed(closed, tmp_path / "backup")
    with pytest.raises(Conflict, match="is not empty"):
        restore(tmp_path / "backup", closed)
    assert faults(tmp_path / "backup") == faults(closed) == []


@pytest.mark.parametrize("step", ["_move", "_complete", "sync_all", "write_manifest"])
def test_a_failure_leaves_nothing_that_looks_like_a_backup(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders, step, fail)
        with pytest.raises(Unavailable, match="the backup cannot be written: No space left"):
            of_closed(closed, tmp_path / "backup")
    assert names(tmp_path) == {"data"}
    assert "snapshot" not in names(closed)
    of_closed(closed, tmp_path / "backup")


def test_what_a_crash_left_is_made_anew(closed: Path, tmp_path: Path) -> None:
    part = tmp_path / ".backup.part"
    of_closed(closed, part)
    (part / "backup.json").unlink()
    of_closed(closed, tmp_path / "backup")
    assert names(tmp_path) == {"data", "backup"}


@pytest.mark.parametrize("step", ["_copy_all", "sync_all"])
def test_a_failed_restore_leaves_no_store(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    of_closed(closed, tmp_path / "backup")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders, step, fail)
        with pytest.raises(Unavailable, match="cannot be restored: No space left"):
            restore(tmp_path / "backup", tmp_path / "new")
    assert names(tmp_path / "new") == set()
    restore(tmp_path / "backup", tmp_path / "new")


def test_a_changed_backup_is_refused(closed: Path, tmp_path: Path) -> None:
    of_closed(closed, tmp_path / "backup")
    blob = next((tmp_path / "backup" / "files").iterdir())
    content = blob.read_bytes()
    blob.unlink()  # else the link to the data changes, too
    blob.write_bytes(content[:-1] + b"?")

    (fault,) = faults(tmp_path / "backup")
    assert "has changed since the backup was made; restore another backup" in fault
    with pytest.raises(Unavailable, match=r"the backup is damaged .* --accept-loss"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    restore(tmp_path / "backup", tmp_path / "new", accept_loss=True)
    assert next((tmp_path / "new" / "files").iterdir()).read_bytes().endswith(b"?")
    blob.unlink()
    assert any("cannot be read: No such file" in fault for fault in faults(tmp_path / "backup"))


def test_only_a_backup_can_be_restored(closed: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"is not a backup: it has no backup\.json"):
        restore(closed, tmp_path / "new")
    of_closed(closed, tmp_path / "backup")
    manifest = tmp_path / "backup" / "backup.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(Invalid, match="is a backup of a newer version"):
        restore(tmp_path / "backup", tmp_path / "new")
    manifest.write_text(text[:-9])
    with pytest.raises(Invalid, match="is damaged"):
        restore(tmp_path / "backup", tmp_path / "new")
    with pytest.raises(Invalid, match="is a backup: restore it"):
        manifest.write_text(text)
        repair(tmp_path / "backup")


def test_one_backup_at_a_time(closed: Path, tmp_path: Path) -> None:
    with folders.one_at_a_time(closed), pytest.raises(Conflict, match="another backup or export"):
        of_closed(closed, tmp_path / "backup")


def test_a_folder_without_a_queue(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no queue in"):
        faults(tmp_path)
    assert names(tmp_path) == set()


def test_a_start_removes_a_snapshot_that_was_left(tmp_path: Path) -> None:
    with full_queue(tmp_path / "data") as queue:
        taken = queue.take_snapshot()
        assert taken.tasks == 25
        assert Path(taken.path) == tmp_path / "data" / "snapshot"
        shutil.copytree(taken.path, tmp_path / "data" / "snapshot.part")
    with reopened(tmp_path / "data"):
        pass
    assert not {"snapshot", "snapshot.part"} & names(tmp_path / "data")


def test_a_snapshot_that_the_disk_refuses_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_queue(tmp_path / "data") as queue:
        monkeypatch.setattr(os, "link", None)
        with pytest.raises(Unavailable, match="no snapshot can be taken"):
            queue.take_snapshot()
        assert queue.get_queue_stats().completed_tasks == 1
        assert not {"snapshot", "snapshot.part"} & names(tmp_path / "data")


def test_a_queue_in_memory_has_none() -> None:
    with InMemoryQueue(lambda call: "") as queue, pytest.raises(Unavailable, match="in memory"):
        queue.take_snapshot()
