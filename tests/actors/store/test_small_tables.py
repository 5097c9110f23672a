"""Tables of many short runs: they stay few, and a folder that is full of them opens and heals."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_queue.actors.store import rocksdb_setup
from ollama_queue.actors.store.rocksdb import Store
from tests.support.raw_store import filled, listed, write
from tests.support.recorders import a_record
from tests.support.servers.real_models import ROOT


@pytest.fixture
def folder(in_memory: Path) -> Path:
    return in_memory / "data"


def run(folder: Path, number: int, *, tidy: bool = True) -> None:
    """A short run of a queue: it opens, takes on a task and closes."""
    store = Store(str(folder), None)
    if tidy:
        store.tidy()
    write(store, a_record(number))
    store.close()


def files(folder: Path) -> int:
    return len([*folder.rglob("*")])


def under_limit(folder: Path, limit: int) -> str:
    """How many tasks a process sees there that may open `limit` files."""
    program = f"""
from ollama_queue.actors.store.rocksdb import Store
store = Store({str(folder)!r}, None)
store.tidy()
print(len(store.recover().waiting), end="")
store.close()
"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard)),
    )
    return ended.stdout + ended.stderr


def test_a_thousand_short_runs_leave_few_files(folder: Path) -> None:
    most = 0
    for number in range(1000):
        run(folder, number)
        most = max(most, files(folder))

    # Without merging, 120 runs leave 350. RocksDB removes merged tables in a thread of its own,
    # which may be some runs behind on a busy machine.
    assert most < 100
    assert under_limit(folder, 256) == "1000"
    store = Store(str(folder), None)
    assert listed(store, limit=1000) == list(range(999, -1, -1))
    store.close()


def test_a_folder_full_of_small_tables_opens_and_heals(folder: Path) -> None:
    for number in range(120):
        run(folder, number, tidy=False)
    assert files(folder) > 350

    assert under_limit(folder, 256) == "120"
    assert files(folder) < 50


def test_large_tables_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocksdb_setup, "SMALL_BYTES", 100)
    filled(tmp_path, 1000)
    before = sorted(table.name for table in tmp_path.rglob("*.sst"))
    store = Store(str(tmp_path), None)
    store.tidy()
    kept = {table.name for table in tmp_path.rglob("*.sst")}
    store.close()

    assert kept >= set(before)


def test_one_go_merges_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many there are is not only ours to say: RocksDB merges some aside by itself."""
    for number in range(12):
        run(tmp_path, number, tidy=False)
    before = len([*tmp_path.rglob("*.sst")])
    store = Store(str(tmp_path), None)
    with monkeypatch.context() as small:
        small.setattr(rocksdb_setup, "MERGE_BYTES", 8_000)
        store.tidy()
        after_one = len([*tmp_path.rglob("*.sst")])
    store.tidy()
    after_all = len([*tmp_path.rglob("*.sst")])
    store.close()

    assert after_one < before + 4
    assert after_all <= after_one - rocksdb_setup.MERGE_AT  # there was more to do than one go did
