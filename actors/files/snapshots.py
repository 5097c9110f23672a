"""Copies an open store within its own folder, by links: this takes no space, and no time to speak
of. There is one copy at most; backups and exports are made from it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..core.model.files import FILE_ID
from .private_files import FOLDER_MODE, narrow, narrow_file, sync_folder

FOLDER = "snapshot"
PART = f"{FOLDER}.part"  # until it is whole


def take_snapshot(
    folder: Path, checkpoint: Callable[[str], None], is_closing: Callable[[], bool]
) -> Path:
    """Replace the copy by a new one, and return its folder.

    `checkpoint` writes a copy of RocksDB to a path. Call this in the thread that removes the bytes
    of deleted files: then each file that the copy has a record of has its bytes there. Bytes
    without a record may be there too, even of unfinished files. Raises `OSError`, or the error of
    `checkpoint`.
    """
    drop_snapshot(folder)
    part = folder / PART
    part.mkdir(FOLDER_MODE)
    try:
        checkpoint(str(part / "rocksdb"))
        link_files(folder / "files", part / "files", is_closing)
        _narrow_and_sync(part / "rocksdb")
        sync_folder(part)
        part.rename(folder / FOLDER)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder / FOLDER


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
