"""No name that comes from outside leads out of its folder: in paths, exports and backups."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_queue import Invalid
from ollama_queue.actors.backup.exporting import export
from ollama_queue.actors.backup.faults import no_progress
from ollama_queue.actors.backup.folders import restore
from ollama_queue.actors.backup.importing import import_lines
from ollama_queue.actors.backup.manifest import (
    BackedUpFile,
    digest_of,
    read_manifest,
    write_manifest,
)
from ollama_queue.actors.files.blobs import BlobFolder
from tests.support.full_queue import full_queue
from tests.support.harness.tenants import OPS, TenantsHarness

SECRET = "what lies beside the data folder"
NAMES = [
    "../secret.txt",
    "..%2fsecret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "..%5csecret.txt",
    "....//secret.txt",
    "%252e%252e%252fsecret.txt",
    "..%c0%afsecret.txt",
    "x/../../secret.txt",
    "secret.txt%00",
    "file-..%2f..%2fsecret.txt",
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TenantsHarness]:
    (tmp_path / "secret.txt").write_text(SECRET)
    made = TenantsHarness(tmp_path / "data")
    yield made
    made.close()


def test_no_path_of_a_request_reads_or_changes_a_file_of_the_machine(
    house: TenantsHarness, tmp_path: Path
) -> None:
    http = house.client(OPS)
    names = [*NAMES, f"{tmp_path}/secret.txt", f"%2f{tmp_path}/secret.txt"]
    seen = 0
    for route in house.app.routes:
        if "<" not in route.rule or route.rule == "/api/tasks/<task_id>/stream":
            continue
        for name in names:
            path = re.sub("<.*?>", lambda _, name=name: name, route.rule)
            answer = http.request(route.method, path, json={})
            assert 400 <= answer.status_code < 500, (route.method, path, answer.text)
            assert SECRET not in answer.text
            seen += 1

    assert seen > 300
    assert (tmp_path / "secret.txt").read_text() == SECRET


@pytest.mark.parametrize(
    "name", ["../secret.txt", "{folder}/secret.txt", "..", "", "a/b", "owner.json"]
)
def test_the_folder_of_files_has_nothing_but_ids(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    blobs = BlobFolder(tmp_path)

    for act in (blobs.create, blobs.open, blobs.remove):
        with pytest.raises(FileNotFoundError, match="is not the id of a file"):
            act(name.format(folder=tmp_path))
    assert not blobs.has(name.format(folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize("name", ["../../secret.txt", "{folder}/secret.txt", "file-x"])
def test_an_import_writes_no_file_beside_the_queue(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    with full_queue(tmp_path / "data"):
        pass
    written = io.BytesIO()
    export(tmp_path / "data", datetime.now(UTC), None, written.write, no_progress)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    for line in lines:
        if line["kind"] == "file":
            line["file"]["id"] = name.format(folder=tmp_path)
    forged = b"\n".join(msgspec.json.encode(line) for line in lines)

    with pytest.raises(Invalid, match="has the file id"):
        import_lines(io.BytesIO(forged), tmp_path / "new", no_progress)

    assert secret.read_text() == SECRET


def test_a_restore_writes_nothing_beside_the_store(tmp_path: Path) -> None:
    with full_queue(tmp_path / "data") as queue:
        queue.backup(tmp_path / "backup")
    evil = tmp_path / "evil"
    evil.write_text("theirs")
    manifest = read_manifest(tmp_path / "backup")
    assert manifest is not None
    size, digest = evil.stat().st_size, digest_of(evil)
    more: dict[str, Any] = {
        name: BackedUpFile(size, digest) for name in ("../evil", str(evil), "rocksdb/../../evil")
    }
    forged = msgspec.structs.replace(manifest, files={**manifest.files, **more})
    write_manifest(tmp_path / "backup", forged)

    restore(tmp_path / "backup", tmp_path / "deep" / "new")

    assert sorted(path.name for path in (tmp_path / "deep" / "new").iterdir()) == [
        "files",
        "rocksdb",
    ]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]
    assert evil.read_text() == "theirs"
