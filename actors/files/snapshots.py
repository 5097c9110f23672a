"""Copies an open store within its own folder, by links: this takes no space, and no time to speak
of. There is one copy at most; backups and exports are made from it."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..core.model.files import FILE_ID
from .private_files import FOLDER_MODE, narrow, narrow_file, sync_folder
from .wal_files import number_of

FOLDER = "snapshot"
PART = f"{FOLDER}.part"  # until it is whole
TRIES = 10
SETTINGS = "rocksdict-config.json"  # how rocksdict encodes keys and values


def take_snapshot(folder: Path, is_closing: Callable[[], bool] = lambda: False) -> Path:
    """Replace the copy by a new one, and return its folder.

    Of an open store, call this in the thread that removes the bytes of deleted files: then each
    file that the copy has a record of has its bytes there. Bytes without a record may be there
    too, even of unfinished files. Raises `OSError`.
    """
    drop_snapshot(folder)
    part = folder / PART
    part.mkdir(FOLDER_MODE)
    try:
        copy_rocksdb(folder / "rocksdb", part / "rocksdb")
        link_files(folder / "files", part / "files", is_closing)
        sync_folder(part)
        part.rename(folder / FOLDER)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder / FOLDER


def copy_rocksdb(rocks: Path, target: Path) -> None:
    """Copy a RocksDB, which may be written to meanwhile, as it is at one moment.

    Tables never change, so they are linked. The moment is that of reading the manifest, the list of
    tables and of the oldest journal that is needed. RocksDB deletes what a newer manifest no longer
    needs; so tables and journals are linked before it is read, and the newest ones after. Journals
    are deleted in order: if the newest one linked before is still there after, none was missed,
    else this starts anew. Journals grow: their links become copies, whose torn end RocksDB
    tolerates, as after a crash. Whether a table was missed, which takes one that was written and
    merged within milliseconds, an open of the copy tells.

    RocksDB's own checkpoint would hold the interpreter lock during all of its fsyncs. Raises
    `OSError`.
    """
    for _ in range(TRIES):
        target.mkdir(FOLDER_MODE)
        if _link_all(rocks, target):
            break
        shutil.rmtree(target)
    else:
        raise OSError("the journal changes too fast")
    shutil.copyfile(rocks / SETTINGS, target / SETTINGS)
    for log in target.glob("*.log"):
        shutil.copyfile(log, target / "copy")
        (target / "copy").replace(log)
    _narrow_and_sync(target)


def _link_all(rocks: Path, target: Path) -> bool:
    """Link tables and journals, and copy the manifest. Returns whether no journal was missed."""
    for _ in range(2):  # the second time only those that were written during the first
        _link_new(rocks, target, ".sst")
    before = _link_new(rocks, target, ".log")
    current = (rocks / "CURRENT").read_bytes()
    manifest = current.decode().strip()
    shutil.copyfile(rocks / manifest, target / manifest)
    (target / "CURRENT").write_bytes(current)
    after = _link_new(rocks, target, ".log")
    _link_new(rocks, target, ".sst")
    return max(before, key=number_of) in after if before else not after


def _link_new(rocks: Path, target: Path, suffix: str) -> list[str]:
    """Link the files that are not linked yet. Returns the names of all that are there."""
    names = [name for name in os.listdir(rocks) if name.endswith(suffix)]
    for name in names:
        with suppress(FileNotFoundError, FileExistsError):  # deleted meanwhile; linked before
            os.link(rocks / name, target / name, follow_symlinks=False)
    return names


def drop_snapshot(folder: Path) -> None:
    """Remove the copy, and what is left of an unfinished one."""
    for name in (FOLDER, PART):
        shutil.rmtree(folder / name, ignore_errors=True)


def link_files(source: Path, target: Path, is_closing: Callable[[], bool]) -> None:
    """Link the bytes of all files into another folder, which is created. Raises `OSError`."""
    target.mkdir(FOLDER_MODE)
    names = os.listdir(source) if source.is_dir() else []
    for name in names:
        if is_closing():
            raise OSError("the queue stops")
        if FILE_ID.fullmatch(name):
            os.link(source / name, target / name, follow_symlinks=False)
    sync_folder(target)


def _narrow_and_sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        narrow(descriptor)
        for name in os.listdir(descriptor):
            narrow_file(name, descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
