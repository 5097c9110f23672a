"""A store that lacks what was acknowledged is refused; one that is whole never is."""

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.files.data_folder import DataFolder
from ollama_queue.actors.store.commit_group import TaskWrite
from ollama_queue.actors.store.rocksdb import Store
from tests.support.raw_store import group, listed, write
from tests.support.recorders import a_record

SEED = int(os.environ.get("OLLAMA_QUEUE_SEED", random.randrange(1 << 32)))


def crashed(folder: Path, *, tasks: int = 20, tables: int = 0) -> Path:
    """A copy of a store at work, as `kill -9` leaves it: `tables` of its tasks lie in tables."""
    live, copy = folder / "live", folder / "copy"
    if tables:
        store = Store(str(live), None)
        write(store, *(a_record(number) for number in range(tables)))
        store.close()
    store = Store(str(live), None)
    for number in range(tables, tasks):
        write(store, a_record(number))
    copy_at_rest(store, copy)
    store.close()
    shutil.rmtree(live)
    return copy


def copy_at_rest(store: Store, copy: Path) -> None:
    """As `kill -9` would leave it now; with the folder's attributes, as `cp -a` takes them."""
    states = ("rocksdb.num-running-compactions", "rocksdb.compaction-pending")
    while any(f.property_int_value(state) for f in store._families.values() for state in states):
        threading.Event().wait(0.001)
    shutil.copytree(store.folder, copy)


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def refusal(folder: Path) -> str:
    with pytest.raises(Unavailable) as refused:
        Store(str(folder), None)
    return refused.value.message


def tasks(folder: Path, *, accept_loss: bool = False) -> int:
    place = DataFolder(str(folder), accept_loss=accept_loss)
    store = Store(str(folder), None, place=place)
    count = len(listed(store, limit=1000))
    store.recover()
    store.close()
    place.close()
    return count


# --- what is missing is noticed -----------------------------------------------------------------


@pytest.mark.parametrize("harm", [remove, empty, cut])
def test_a_journal_that_is_gone_or_cut_is_refused(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = crashed(tmp_path, tables=5)
    (journal,) = (folder / "rocksdb").glob("*.log")
    shutil.copy(journal, tmp_path / "kept")
    harm(journal)

    for _ in range(2):
        told = refusal(folder)
        assert f"rocksdb/{journal.name}, has been removed or cut: put it back, or start" in told
        assert "--accept-loss (in Python accept_loss=True), which continues without" in told

    shutil.copy(tmp_path / "kept", journal)  # looking at it has changed nothing
    assert tasks(folder) == 20


def test_accepting_the_loss_goes_on_with_what_is_left_and_does_not_ask_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = crashed(tmp_path, tables=5)
    (journal,) = (folder / "rocksdb").glob("*.log")
    journal.unlink()

    assert tasks(folder, accept_loss=True) == 5
    assert "has been removed or cut" in caplog.text and "accepted" in caplog.text
    assert tasks(folder) == 5


def test_what_is_left_agrees_again(tmp_path: Path) -> None:
    """Of each column family another part was in the journal that is gone."""
    live = tmp_path / "live"
    store = Store(str(live), None)
    write(store, *(a_record(number, key=b"%016d" % number) for number in range(20)))
    for number, family in enumerate(store._families.values()):
        family.flush()
        more = range(20 + 5 * number, 25 + 5 * number)
        write(store, *(a_record(number, key=b"%016d" % number) for number in more))
    folder = tmp_path / "copy"
    copy_at_rest(store, folder)
    store.close()
    for journal in (folder / "rocksdb").glob("*.log"):
        journal.unlink()

    place = DataFolder(str(folder), accept_loss=True)
    left = Store(str(folder), None, place=place)
    found = left.recover()
    ids = {entry.id for entry in found.waiting}
    assert len(ids) >= 20
    assert len(listed(left, limit=1000)) == len(ids) == left.counts.by_status["pending"][5]
    assert {keyed.task_id for _, keyed in found.keys} <= ids
    for task_id in ids:
        assert left.record(task_id) is not None and left.spec(task_id) is not None
    left.close()
    place.close()


def test_accepting_is_for_one_opening_only(tmp_path: Path) -> None:
    place = DataFolder(str(tmp_path / "data"), accept_loss=True)
    Store(str(tmp_path / "data"), None, place=place).close()
    (tmp_path / "data" / "rocksdb" / "CURRENT").unlink()

    with pytest.raises(Unavailable, match="lacks changes that were acknowledged"):
        Store(str(tmp_path / "data"), None, place=place)
    place.close()


def test_an_emptied_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    shutil.rmtree(folder / "rocksdb")
    assert "RocksDB's files have been removed" in refusal(folder)
    assert "starts with an empty queue" in refusal(folder)
    assert not (folder / "rocksdb").exists()

    (folder / "rocksdb").mkdir()
    assert "RocksDB's files have been removed" in refusal(folder)

    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "the folder has been emptied" in refusal(folder)
    assert not any(folder.iterdir())
    assert tasks(folder, accept_loss=True) == tasks(folder) == 0


def test_after_a_clean_stop_as_well(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "data"), None)
    write(store, a_record(1))
    store.close()
    shutil.rmtree(tmp_path / "data" / "rocksdb")

    assert "RocksDB's files have been removed" in refusal(tmp_path / "data")


def test_older_files_in_the_place_of_newer_ones_are_refused(tmp_path: Path) -> None:
    folder, rocks = tmp_path / "data", tmp_path / "data" / "rocksdb"
    for number in range(2):
        store = Store(str(folder), None)
        write(store, a_record(number))
        store.close()
        if number == 0:
            shutil.copytree(rocks, tmp_path / "older")
    shutil.rmtree(rocks)
    shutil.copytree(tmp_path / "older", rocks)

    assert "older one" in refusal(folder)
    assert "older one" in refusal(folder)


def test_a_sentinel_that_is_damaged_or_gone_is_refused(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    empty(folder / "sentinel")
    assert "its file sentinel is damaged" in refusal(folder)
    remove(folder / "sentinel")
    assert "its file sentinel has been removed" in refusal(folder)
    assert tasks(folder, accept_loss=True) == 20


def test_a_note_that_a_power_failure_cut_leaves_the_one_before(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    whole = (folder / "sentinel").read_bytes()
    for offset in (0, 4096):
        (folder / "sentinel").write_bytes(whole)
        with (folder / "sentinel").open("r+b") as file:
            file.seek(offset + 20)
            file.write(b"\0" * 30)
        shutil.copytree(folder, tmp_path / str(offset))

        assert tasks(tmp_path / str(offset)) == 20


def test_whatever_is_done_to_one_file_all_is_there_or_it_is_refused(tmp_path: Path) -> None:
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED)")
    chance = random.Random(SEED)
    whole = crashed(tmp_path, tasks=60, tables=30)
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        for harm in (remove, empty, cut):
            folder = tmp_path / f"{path.name}-{harm.__name__}"
            shutil.copytree(whole, folder)
            harm(folder / path.relative_to(whole))
            try:
                count = tasks(folder)
            except Exception as refused:
                assert isinstance(refused, Unavailable) or "orrupt" in str(refused), refused
            else:
                assert count == 60, f"{path.name}, {harm.__name__}: {count} tasks are left"
            shutil.rmtree(folder)
    journal = next((whole / "rocksdb").glob("*.log"))
    for size in sorted(chance.sample(range(journal.stat().st_size), 10), reverse=True):
        os.truncate(journal, size)
        assert "has been removed or cut" in refusal(whole), size


# --- what is whole is never asked about ---------------------------------------------------------


def test_a_store_of_an_older_version_opens(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "data"), None)
    write(store, a_record(1))
    store.close()
    (tmp_path / "data" / "sentinel").unlink()
    os.removexattr(tmp_path / "data", "user.ollama_queue.store")
    options = {
        name: Options(raw_mode=True) for name in Rdict.list_cf(str(tmp_path / "data/rocksdb"))
    }
    db = Rdict(str(tmp_path / "data/rocksdb"), Options(raw_mode=True), column_families=options)
    meta = db.get_column_family("meta")
    del meta[b"id"]
    meta.close()
    db.close()

    assert tasks(tmp_path / "data") == tasks(tmp_path / "data") == 1


def test_a_copy_a_move_and_a_new_folder_are_fine(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    shutil.copytree(folder, tmp_path / "backup")
    folder.rename(tmp_path / "moved")
    assert tasks(tmp_path / "moved") == tasks(tmp_path / "backup") == 20

    shutil.rmtree(tmp_path / "moved")
    assert tasks(tmp_path / "moved") == 0


def test_a_backup_in_the_emptied_folder_is_fine(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    shutil.copytree(folder, tmp_path / "backup")
    assert tasks(folder) == 20
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(tmp_path / "backup", folder, dirs_exist_ok=True)

    assert tasks(folder) == 20


def test_crashes_and_stops_at_any_moment_are_never_asked_about(in_memory: Path) -> None:
    """Copies of the folder as it is before, between and after writes, syncs, rolls and stops."""
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED)")
    chance = random.Random(SEED)
    folder, count = in_memory / "0", 0
    for generation in range(1, 100):
        store = Store(str(folder), None)
        synced = count
        for _ in range(chance.randrange(6)):
            store.write(group(TaskWrite(a_record(count), None, b"{}", None, b"body")))
            count += 1
            if chance.random() < 0.6:
                store.sync(store.written())
                synced = count
            if chance.random() < 0.2:
                store._families[chance.choice(["tasks", "index", "specs"])].flush()
        is_clean = chance.random() < 0.4
        if is_clean:
            store.close()
        following = in_memory / str(generation)
        if is_clean:
            shutil.copytree(folder, following)
        else:
            copy_at_rest(store, following)
            store.close()
        shutil.rmtree(folder)
        folder = following

        reopened = Store(str(folder), None)
        left = len(listed(reopened, limit=1000))
        assert synced <= left == count
        reopened.close()
