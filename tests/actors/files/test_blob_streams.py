"""Bytes of files are written and read piece by piece; what fails leaves nothing behind."""

import errno
import os
from pathlib import Path

import pytest

from ollama_queue import Unavailable
from ollama_queue.actors.base.thread_pool import InlinePool, Pool, ThreadPool
from ollama_queue.actors.core.model.files import id_of_file
from ollama_queue.actors.files.blob_streams import PIECE, SYNC_BYTES, BlobReader, BlobWriter
from ollama_queue.actors.files.blobs import BlobFolder, Blobs, MemoryBlobs

ID = id_of_file("0" * 32)
DATA = bytes(range(256)) * 3000


@pytest.fixture(params=["inline", "thread"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return InlinePool() if request.param == "inline" else ThreadPool("files")


@pytest.fixture(params=["disk", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return BlobFolder(tmp_path) if request.param == "disk" else MemoryBlobs()


def test_what_was_written_is_read(blobs: Blobs, pool: Pool) -> None:
    with BlobWriter(blobs, pool, ID, lambda size: None) as writer:
        for start in range(0, len(DATA), 1000):
            writer.write(DATA[start : start + 1000])
        writer.finish()
    reader = BlobReader(blobs, pool, ID)
    pieces = list(reader)
    reader.close()
    reader.close()

    assert writer.size == len(DATA)
    assert b"".join(pieces) == DATA
    assert max(map(len, pieces)) <= PIECE
    assert blobs.ids() == {ID}
    blobs.remove(ID)
    assert blobs.ids() == set()
    with pytest.raises(Unavailable):
        BlobReader(blobs, pool, ID)
    assert pool.finish(10)


def test_what_is_not_finished_is_removed(blobs: Blobs, pool: Pool) -> None:
    with pytest.raises(KeyError), BlobWriter(blobs, pool, ID, lambda size: None) as writer:
        writer.write(DATA)
        raise KeyError

    assert pool.finish(10)
    assert blobs.ids() == set()


def test_the_space_is_checked_before_it_is_used(blobs: Blobs, pool: Pool) -> None:
    checks: list[int] = []

    def check(size: int) -> None:
        checks.append(size)
        if len(checks) > 1:
            raise Unavailable("the disk is full")

    with (
        pytest.raises(Unavailable, match="full"),
        BlobWriter(blobs, pool, ID, check) as writer,
    ):
        for _ in range(100):
            writer.write(bytes(PIECE))

    assert writer.size <= SYNC_BYTES + PIECE
    assert checks == [SYNC_BYTES] * 2
    assert pool.finish(10)
    assert blobs.ids() == set()


def test_an_error_of_the_disk_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: Pool
) -> None:
    def no_room(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    blobs = BlobFolder(tmp_path)
    monkeypatch.setattr(os, "write", no_room)
    with (
        pytest.raises(Unavailable, match="the disk is full: there is no room for the file"),
        BlobWriter(blobs, pool, ID, lambda size: None) as writer,
    ):
        writer.write(DATA)

    assert pool.finish(10)
    assert blobs.ids() == set()


def test_other_files_in_the_folder_are_let_alone(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "file-of-mine").write_text("x")

    assert BlobFolder(tmp_path).ids() == set()
