"""Stores that older versions wrote, kept as they wrote them, are opened with all that they hold.

`formats/format1.tar.gz` and so on were written by the last version of each format, with tasks in
each state, a batch, a cron, an idempotency key, from format 3 on a file, and from format 4 on a
task of a tenant; `ids.json` names them.
A change of the format adds one more.
"""

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rocksdict import Options

from ollama_queue import Conflict, QueueManager, Status, TaskFilter, Unavailable, generate_task
from ollama_queue.actors.backup.check import check_folder
from ollama_queue.actors.backup.exporting import export
from ollama_queue.actors.backup.faults import no_progress
from ollama_queue.actors.backup.folders import back_up, restore, snapshot_of_closed
from ollama_queue.actors.backup.importing import import_lines
from ollama_queue.actors.store.migrations import FORMAT
from ollama_queue.actors.store.rocksdb import Store
from tests.support.full_queue import reopened
from tests.support.servers.real_models import ROOT

FORMATS = range(1, FORMAT + 1)


@pytest.fixture(params=FORMATS, ids=lambda number: f"format {number}")
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name = f"tests/actors/store/formats/format{request.param}.tar.gz"
    with tarfile.open(ROOT / name) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def check(queue: QueueManager, ids: dict[str, Any]) -> None:
    """The queue has all that was written."""
    queue.pause()
    completed, failed = queue.get_task(ids["completed"]), queue.get_task(ids["failed"])
    assert completed.result["response"] == "Hello"
    assert (completed.tags, completed.metadata) == (["x"], {"n": 1})
    assert "no such option" in (failed.error or "")
    assert [attempt.backend for attempt in failed.attempts] == ["ollama"]
    assert queue.get_task(ids["cancelled"]).status is Status.CANCELLED
    later = queue.get_task(ids["later"])
    assert later.scheduled_at == datetime(2100, 1, 1, tzinfo=UTC)
    assert later.status is Status.PENDING
    try:
        again = queue.submit(generate_task("m", "keyed", priority=12), idempotency_key="once")
        assert (again.task_id, queue.get_task(ids["keyed"]).priority) == (ids["keyed"], 12)
    except Conflict as known:  # before format 3, the digests of tasks were others
        assert "file" not in ids
        assert f"was used for another request, {ids['keyed']}" in known.message
    batch = queue.get_batch(ids["batch"])
    assert (batch.total, batch.held) == (3, 3)
    assert len(list(queue.list_tasks(TaskFilter(batch_id=[ids["batch"]])))) == 3
    (cron,) = queue.list_cron_tasks()
    assert (cron.id, cron.name, cron.enabled) == (ids["cron"], "nightly", True)
    ended = queue.list_tasks(TaskFilter(sort="ended"))
    assert {task.id for task in ended} == {ids["completed"], ids["failed"], ids["cancelled"]}
    assert len(list(queue.list_tasks(TaskFilter(limit=100)))) == 8
    if "file" in ids:
        assert queue.get_file(ids["file"]).size == 700


def test_it_is_opened_with_all_that_it_holds(old: Path) -> None:
    assert [str(fault) for fault in check_folder(old)] == []
    ids = json.loads((old / "ids.json").read_text())
    for _ in range(2):
        with reopened(old) as queue:
            check(queue, ids)
    assert [str(fault) for fault in check_folder(old)] == []


def test_a_backup_before_the_upgrade_can_be_restored(old: Path, tmp_path: Path) -> None:
    made = back_up(tmp_path / "backup", old, lambda: snapshot_of_closed(old))
    assert sum(made.tasks.values()) == 8
    assert restore(tmp_path / "backup", tmp_path / "new") == made
    with reopened(tmp_path / "new") as queue:
        check(queue, json.loads((old / "ids.json").read_text()))


def test_it_can_be_exported(old: Path, tmp_path: Path) -> None:
    lines = io.BytesIO()
    export(old, datetime.now(UTC), None, lines.write, no_progress)
    lines.seek(0)
    import_lines(lines, tmp_path / "new", no_progress)
    with reopened(tmp_path / "new") as queue:
        check(queue, json.loads((old / "ids.json").read_text()))


def test_each_format_is_kept() -> None:
    kept = {path.name for path in (ROOT / "tests/actors/store/formats").iterdir()}
    assert kept == {f"format{number}.tar.gz" for number in FORMATS}


def test_a_store_of_a_newer_format_is_refused_with_the_reason(tmp_path: Path) -> None:
    store = Store(str(tmp_path), None)
    store.write_row("meta", b"format", b"%d" % (FORMAT + 1))
    store.close()
    with pytest.raises(Unavailable, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        reopened(tmp_path).start()


def test_a_store_with_families_of_a_newer_version_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    store = Store(str(tmp_path), None)
    store._db.create_column_family("later", Options(raw_mode=True)).close()
    store.close()
    with pytest.raises(Unavailable, match="was written by a newer version: use that one"):
        reopened(tmp_path).start()
