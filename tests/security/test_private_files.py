"""Nobody but its owner reads a store, whatever the umask says; and whose the folder is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue.actors.core.config.config import LoggingSettings
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.files.private_files import replace_file
from ollama_queue.actors.logs import open_handler
from ollama_queue.actors.store.rocksdb import Store
from tests.support.raw_store import write
from tests.support.recorders import a_record


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wide(folder: Path) -> list[str]:
    """What others may do anything with, or is not as private as it should be."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]}
    return [
        f"{path.name} {mode:04o}"
        for path, mode in modes.items()
        if mode & 0o077 or (path.is_dir() and mode != 0o700)
    ]


@pytest.mark.usefixtures("umask")
def test_all_that_a_store_writes_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number in range(3):
        store = Store(str(folder), None)
        assert wide(folder) == []
        write(store, a_record(number))
        store._families["tasks"].flush()  # a new table, as they come by themselves
        store.sync(store.written())
        assert wide(folder) == []
        store.close()
        assert wide(folder) == []


def test_a_folder_that_was_open_to_others_is_mended_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    Store(str(folder), None).close()
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    store = Store(str(folder), None)

    assert wide(folder) == []
    assert f"{folder} was accessible to other users (0755): made private" in caplog.text
    store.close()
    caplog.clear()
    Store(str(folder), None).close()
    assert not caplog.records


def test_a_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("theirs")
    tmp_path.chmod(0o755)
    store = Store(str(tmp_path), None)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "project.py").stat().st_mode) & 0o044
    assert wide(tmp_path / "rocksdb") == []
    assert not (tmp_path / "owner.json").stat().st_mode & 0o077
    store.close()


def test_a_link_is_refused_with_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to("real")
    with pytest.raises(Unavailable, match=rf"symbolic link, .* \({tmp_path}/real\)$"):
        Store(str(tmp_path / "data"), None)

    assert not any((tmp_path / "real").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 12345, -1)
    with pytest.raises(Unavailable, match="it belongs to user 12345, and this process runs as"):
        Store(str(tmp_path / "data"), None)

    assert not any((tmp_path / "data").iterdir())


def test_owner_json_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("whole")
    (tmp_path / "data").mkdir()
    for name in ("owner.json", "owner.json.new", "sentinel.new"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "victim")
    Store(str(tmp_path / "data"), None).close()

    assert (tmp_path / "victim").read_text() == "whole"
    assert not (tmp_path / "data" / "owner.json").is_symlink()


def test_nor_through_one_that_is_put_there_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim").write_text("whole")
    unlink = Path.unlink

    def unlink_and_lose_the_race(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        path.symlink_to(tmp_path / "victim")

    monkeypatch.setattr(Path, "unlink", unlink_and_lose_the_race)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "owner.json", b"new")
    assert (tmp_path / "victim").read_text() == "whole"


@pytest.mark.usefixtures("umask")
def test_a_new_log_file_is_private(tmp_path: Path) -> None:
    handler = open_handler(LoggingSettings(file=str(tmp_path / "queue.log")))
    handler.close()

    assert not (tmp_path / "queue.log").stat().st_mode & 0o177
