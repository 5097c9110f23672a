"""The store: who may open it, and that damage is never taken for the end."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.store.commit_group import TaskWrite
from ollama_queue.actors.store.rocksdb import Store
from tests.support.raw_store import PENDING, filled, group, listed, write
from tests.support.recorders import a_record
from tests.support.servers.real_models import ROOT

# --- who may open -------------------------------------------------------------------------------


def test_a_second_opener_in_this_process_is_told_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "http://127.0.0.1:7125")

    with pytest.raises(Unavailable, match="in use by this process"):
        Store(str(tmp_path), None)
    assert (tmp_path / "owner.json").exists()
    store.close()


def test_who_has_closed_it_is_not_named_any_more(tmp_path: Path) -> None:
    Store(str(tmp_path), None).close()

    assert not (tmp_path / "owner.json").exists()


def test_who_only_reads_leaves_the_name_of_who_writes(tmp_path: Path) -> None:
    store = Store(str(tmp_path), None)
    Store(str(tmp_path), None, read_only=True).close()

    assert (tmp_path / "owner.json").exists()
    store.close()


def test_another_process_is_told_who_has_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "http://127.0.0.1:7125")
    told = in_process(tmp_path)
    store.close()

    assert f"in use by process {os.getpid()} at http://127.0.0.1:7125, since 20" in told


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    for _ in range(3):
        store = Store(str(tmp_path), None)
        listed(store, status=[PENDING])
        store.recover()
        store.close()

    assert in_process(tmp_path) == "opened"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match=r"cannot open the store in .*/file"):
        Store(str(tmp_path / "file"), None)

    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder), 1)
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) | 0o555)
        told = in_process(Path(folder), user=65534)
        os.chmod(folder, 0o755)

    assert f"cannot open the store in {folder}" in told


def in_process(folder: Path, user: int = 0) -> str:
    """What another process is told when it opens the folder; root drops its might for `user`."""
    program = f"""
import os
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.store.rocksdb import Store
if {user} and os.geteuid() == 0:
    os.setuid({user})
try:
    Store({str(folder)!r}, None).close()
    print("opened", end="")
except Unavailable as error:
    print(error.message)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=20
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_an_unknown_format_is_refused_and_let_go(tmp_path: Path) -> None:
    Store(str(tmp_path), None).close()
    set_format(tmp_path, b"99")
    with pytest.raises(Unavailable, match="has format 99, this version reads 4") as refused:
        Store(str(tmp_path), None)

    set_format(tmp_path, b"3")
    Store(str(tmp_path), None).close()
    assert refused.value.__traceback__ is not None  # kept, and yet the folder was let go


def set_format(folder: Path, number: bytes) -> None:
    names = Rdict.list_cf(str(folder / "rocksdb"), Options(raw_mode=True))
    families = {name: Options(raw_mode=True) for name in names}
    db = Rdict(str(folder / "rocksdb"), Options(raw_mode=True), column_families=families)
    meta = db.get_column_family("meta")
    meta[b"format"] = number
    meta.close()
    db.close()


# --- damage -------------------------------------------------------------------------------------


def journal_of_a_crash(folder: Path) -> Path:
    """A copy of a store of 200 tasks as a crash leaves it: all of them in its journal.

    The newest one was not synced yet.
    """
    store = Store(str(folder / "live"), None)
    for number in range(199):
        write(store, a_record(number))
    store.write(group(TaskWrite(a_record(199), None, b"{}", None, b"body")))
    shutil.copytree(folder / "live", folder / "copy")
    store.close()
    (journal,) = (folder / "copy" / "rocksdb").glob("*.log")
    return journal


def test_a_torn_tail_of_the_journal_is_a_crash_and_fine(tmp_path: Path) -> None:
    journal = journal_of_a_crash(tmp_path)
    os.truncate(journal, journal.stat().st_size - 7)

    store = Store(str(tmp_path / "copy"), None)
    assert listed(store, limit=1000) == list(range(198, -1, -1))
    assert store.counts.by_status == {"pending": {5: 199}}
    store.close()


def test_damage_in_the_middle_of_the_journal_is_refused(tmp_path: Path) -> None:
    journal = journal_of_a_crash(tmp_path)
    overwrite_middle(journal)

    with pytest.raises(Unavailable, match=r"is damaged \(.*restore a copy"):
        Store(str(tmp_path / "copy"), None)


def overwrite_middle(path: Path, length: int = 64) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * length)


def test_a_damaged_table_is_never_taken_for_a_shorter_one(tmp_path: Path) -> None:
    filled(tmp_path / "whole", 3000)
    tables = sorted((tmp_path / "whole" / "rocksdb").glob("*.sst"))
    refusals = []
    for table in tables:
        copy = tmp_path / table.stem
        shutil.copytree(tmp_path / "whole", copy)
        overwrite_middle(copy / "rocksdb" / table.name)
        refusals.append(what_recovering_says(copy))

    assert any("orruption" in words for words in refusals)
    assert set(refusals) - {"3000 wait"} == {w for w in refusals if "orrupt" in w}


def test_a_table_that_is_missing_is_told(tmp_path: Path) -> None:
    filled(tmp_path, 10)
    max((tmp_path / "rocksdb").glob("*.sst"), key=lambda table: table.stat().st_size).unlink()

    assert "is damaged" in what_recovering_says(tmp_path)


def what_recovering_says(folder: Path) -> str:
    try:
        store = Store(str(folder), None)
    except Unavailable as error:
        assert "is damaged" in error.message
        return error.message
    try:
        return f"{len(store.recover().waiting)} wait"
    except Exception as error:  # nothing more special
        return str(error)
    finally:
        store.close()
