"""Each kind of damage in a store is found, and what helps against it does."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rocksdict import WriteBatch

from ollama_queue import generate_task
from ollama_queue.actors.backup.check import check_folder, repair
from ollama_queue.actors.store.encoding import FAMILIES, decode_batch, encode
from ollama_queue.actors.store.migrations import FORMAT
from ollama_queue.actors.store.rocksdb_setup import open_rocksdb
from tests.support.full_queue import full_queue, reopened

Families = dict[str, Any]


@contextmanager
def raw(folder: Path) -> Iterator[tuple[Families, Callable[[str, bytes, bytes | None], None]]]:
    """A closed store's families, and a function that puts a row, or deletes it."""
    db = open_rocksdb(folder / "rocksdb")
    handles = {name: db.get_column_family_handle(name) for name in FAMILIES}
    families = {name: db.get_column_family(name) for name in FAMILIES}

    def put(family: str, key: bytes, value: bytes | None) -> None:
        batch = WriteBatch(raw_mode=True)
        if value is None:
            batch.delete(key, handles[family])
        else:
            batch.put(key, value, handles[family])
        db.write(batch)

    yield families, put
    handles.clear()
    while families:
        families.popitem()[1].close()
    db.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with full_queue(tmp_path / "data"):
        pass
    return tmp_path / "data"


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in check_folder(folder)]


def first(families: Families, family: str, prefix: bytes = b"") -> bytes:
    return next(key for key in families[family].keys() if key.startswith(prefix))  # noqa: SIM118


Damage = tuple[str, bytes, bytes | None, str]
REPAIRED: list[Damage] = [
    # family, beginning of the row's key, new value (None: deleted), what is said of it
    ("tasks", b"", b"\xc1", "its record cannot be decoded"),
    ("tasks", b"", None, "has no"),
    ("specs", b"", None, "what it asks is missing; verify --repair deletes it"),
    ("index", b"s", None, "its rows in the index are missing or wrong"),
    (
        "index",
        b"s0",
        b"\xc1",
        "its rows in the index are missing or wrong; verify --repair",
    ),
    ("index", b"e", None, "its rows in the index are missing or wrong"),
    ("index", b"b", None, "its rows in the index are missing or wrong"),
    ("index", b"k", b"\xc1", "idempotency key"),
    ("meta", b"counts", None, "pending tasks of priority"),
    ("meta", b"counts", b"\xc1", "meta counts: cannot be decoded"),
    ("meta", b"tenant:", None, "counts of tenant acme: are not those of its tasks"),
    ("index", b"n", None, "its rows in the index are missing or wrong"),
    ("batches", b"", b"\xc1", "its record cannot be decoded"),
    ("crons", b"", b"{", "its record cannot be decoded"),
    ("files", b"", b"\xc1", "its record cannot be decoded"),
]


@pytest.mark.parametrize("damage", REPAIRED, ids=lambda d: f"{d[0]} {d[1]!r} {d[2]!r}")
def test_damage_is_found_and_repaired(data: Path, damage: Damage) -> None:
    assert faults(data) == []
    family, prefix, value, said = damage
    with raw(data) as (families, put):
        put(family, first(families, family, prefix), value)
    (data / "sentinel").unlink()

    found = faults(data)

    assert any(said in fault for fault in found), found
    assert all("; verify --repair" in fault for fault in found if "removed" not in fault), found
    repair(data)
    assert faults(data) == []
    with reopened(data) as queue:
        assert queue.get_queue_stats().pending_tasks >= 20


@pytest.mark.parametrize(
    ("family", "key", "value", "said"),
    [
        ("specs", b"0-stray", b"{}", "specs 0-stray: has no task"),
        ("results", b"0-stray", b"{}", "results 0-stray: has no task"),
        ("index", b"s05" + b"0" * 36, b"", "has no such task"),
        ("index", b"t" + b"0" * 50, b"", "has no such task"),
    ],
)
def test_what_has_no_task_is_found_and_deleted(
    data: Path, family: str, key: bytes, value: bytes, said: str
) -> None:
    with raw(data) as (_, put):
        put(family, key, value)
    found = [fault for fault in faults(data) if "sentinel" not in fault]
    assert len(found) == 1
    assert said in found[0]
    repair(data)
    assert faults(data) == []


def test_wrong_counts_of_a_batch(data: Path) -> None:
    with raw(data) as (families, put):
        key = first(families, "batches")
        batch = decode_batch(families["batches"].get(key))
        put("batches", key, encode(replace(batch, failed=2)))
    assert any("counts 2 failed instead of 0" in fault for fault in faults(data))
    repair(data)
    assert faults(data) == []


def test_a_missing_result_needs_a_backup(data: Path) -> None:
    with raw(data) as (families, put):
        put("results", first(families, "results"), None)
    assert any("its result is missing; restore another backup" in fault for fault in faults(data))


def test_a_damaged_table_needs_a_backup(data: Path) -> None:
    for path in sorted((data / "rocksdb").glob("*.sst")):
        content = bytearray(path.read_bytes())
        content[: len(content) // 2] = bytes(len(content) // 2)
        path.write_bytes(content)
    assert any("restore another backup" in fault for fault in faults(data))


def test_a_newer_format_is_named(data: Path) -> None:
    with raw(data) as (_, put):
        put("meta", b"format", b"99")
    found = [fault for fault in faults(data) if fault.startswith("meta")]
    remedy = "use the version that wrote it, or a newer one"
    assert found == [f"meta: has format 99, this version reads {FORMAT}; {remedy}"]


def test_a_cut_journal_is_found(data: Path) -> None:
    with full_queue(data.parent / "other") as queue:
        shutil.copytree(data.parent / "other", data.parent / "copy")
        queue.submit_task(generate_task("m", "last"))
        shutil.copy(data.parent / "other" / "sentinel", data.parent / "copy" / "sentinel")
    (fault,) = faults(data.parent / "copy")
    assert "lacks changes that were acknowledged" in fault
