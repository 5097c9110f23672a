"""An export has all that a queue has stored; imported, it makes the same queue, once."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Invalid, TaskFilter, generate_task
from ollama_queue.actors.backup.check import check_folder
from ollama_queue.actors.backup.exporting import export
from ollama_queue.actors.backup.faults import no_progress
from ollama_queue.actors.backup.importing import import_lines
from tests.support.full_queue import KEY, everything, full_queue, reopened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue") / "data"
    with full_queue(folder):
        pass
    return folder


def exported(folder: Path, since: datetime | None = None) -> bytes:
    written = io.BytesIO()
    export(folder, datetime.now(UTC), since, written.write, no_progress)
    return written.getvalue()


def imported(lines: bytes, folder: Path, **options: bool) -> tuple[Any, Any]:
    return import_lines(io.BytesIO(lines), folder, no_progress, **options)


def kinds(lines: bytes) -> dict[str, int]:
    (*_, last) = lines.splitlines()
    found: dict[str, int] = json.loads(last)["lines"]
    return found


def test_there_and_back(data: Path, tmp_path: Path) -> None:
    lines = exported(data)
    added, skipped = imported(lines, tmp_path / "new")

    assert added["task"] == 25
    assert not skipped
    assert [str(fault) for fault in check_folder(tmp_path / "new")] == []
    assert kinds(exported(tmp_path / "new")) == kinds(lines)
    with reopened(data) as first:
        before = everything(first)
    with reopened(tmp_path / "new") as queue:
        assert everything(queue) == before
        again = queue.submit(generate_task("m", "keyed", priority=3), idempotency_key=KEY)
        assert not again.created
        batch = [generate_task("m", f"line {n}") for n in range(20)]
        assert not queue.submit_batch(batch, idempotency_key="b").created
        assert queue.get_history()
        assert len(queue.list_audit(limit=100).entries) > 0


def test_a_repeated_import_adds_nothing(data: Path, tmp_path: Path) -> None:
    lines = exported(data)
    added, _ = imported(lines, tmp_path / "new")
    first = exported(tmp_path / "new")

    again, skipped = imported(lines, tmp_path / "new")

    assert not again
    assert skipped == added
    tasks = [line for line in first.splitlines() if b'"kind":"task"' in line]
    assert [line for line in exported(tmp_path / "new").splitlines() if line in tasks] == tasks


def test_an_import_that_was_cut_is_completed_by_another(data: Path, tmp_path: Path) -> None:
    lines = exported(data)
    for cut in range(1000, len(lines), len(lines) // 7):
        with pytest.raises(Invalid):
            imported(lines[:cut], tmp_path / "new")
        assert [str(fault) for fault in check_folder(tmp_path / "new")] == []
    imported(lines, tmp_path / "new")
    assert [str(fault) for fault in check_folder(tmp_path / "new")] == []
    with reopened(data) as first:
        before = everything(first)
    with reopened(tmp_path / "new") as queue:
        assert everything(queue) == before


def test_later_exports_bring_a_copy_up_to_date(tmp_path: Path) -> None:
    with full_queue(tmp_path / "data") as queue:
        waiting = next(iter(queue.list_tasks(TaskFilter(status=["pending"], q="line 3"))))
    imported(exported(tmp_path / "data"), tmp_path / "copy")
    with reopened(tmp_path / "data") as queue:
        begin = datetime.now(UTC)
        queue.cancel_task(waiting.id)
    later = exported(tmp_path / "data", begin)
    assert kinds(later)["task"] == 22, "those that wait, and the one that has ended since"

    imported(later, tmp_path / "copy")
    with reopened(tmp_path / "copy") as queue:
        assert queue.get_task(waiting.id).status == "pending", "it is there: skipped"
    imported(later, tmp_path / "copy", replaces=True)
    assert [str(fault) for fault in check_folder(tmp_path / "copy")] == []
    with reopened(tmp_path / "data") as first:
        before = everything(first)
    with reopened(tmp_path / "copy") as queue:
        assert everything(queue) == before


def test_tasks_may_be_added_to_another_queue(data: Path, tmp_path: Path) -> None:
    with reopened(tmp_path / "other") as queue:
        queue.pause()
        own = queue.submit_task(generate_task("m", "own"))
    imported(exported(data), tmp_path / "other")
    with reopened(tmp_path / "other") as queue:
        assert queue.get_queue_stats().pending_tasks == 23
        seqs = [task.seq for task in queue.list_tasks(TaskFilter(limit=100))]
        queue.cancel_task(own)
        assert queue.get_task(own).seq > max(seqs), "its events are newer than all that is listed"


def test_since_leaves_out_what_ended_before(data: Path) -> None:
    lines = exported(data, datetime.now(UTC) + timedelta(hours=1))
    assert kinds(lines)["task"] == 22


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b"", "line 1 is not the header"),
        (b'{"kind":"end","lines":{}}\n', "line 1 is not the header"),
        (b'{"id": 1}\n', "line 1 is not one of an export"),
        (b"\xff\n", "line 1 is not one of an export"),
        (
            b'{"kind":"ollama_queue_export","version":2,"taken_at":"2026-01-01T00:00:00Z"}\n',
            "has version 2, this program reads 1",
        ),
        (
            b'{"kind":"ollama_queue_export","version":1,"taken_at":"2026-01-01T00:00:00Z"}\n',
            "the export has no end",
        ),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, lines: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        imported(lines, tmp_path / "new")
