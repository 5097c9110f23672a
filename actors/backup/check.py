"""Checks and repairs a folder: the data folder of a stopped queue, or a backup."""

from collections.abc import Iterator
from pathlib import Path

from ..core.model.errors import Invalid, Unavailable
from ..files.data_folder import DataFolder
from ..files.ownership import locked
from ..store.rocksdb import Store
from ..store.sentinel import check_files
from .faults import RESTORE, Fault, Progress, no_progress
from .manifest import NAME, check_bytes, read_manifest
from .verification import check_records


def check_folder(folder: Path, progress: Progress = no_progress) -> Iterator[Fault]:
    """Find all faults in a folder. Nothing is written.

    Raises `Unavailable` if a process has the queue open or it cannot be opened, `NotFound` if
    there is none, `Invalid` for a damaged manifest.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        yield from check_bytes(folder, manifest, progress)
        yield from check_records(folder, progress)
        return
    with locked(folder):
        try:
            check_files(DataFolder(str(folder)))
        except Unavailable as loss:
            yield Fault(folder.name, loss.message, RESTORE)
        yield from check_records(folder, progress)


def repair(folder: Path) -> None:
    """Rebuild the indexes and counts of a stopped queue, and delete damaged and stray records.

    Raises `Invalid` for a backup, `Unavailable` as `Store` does.
    """
    if (folder / NAME).exists():
        raise Invalid(f"{folder} is a backup: restore it, and repair the copy", field="folder")
    with locked(folder):
        pass  # a clear error, before anything is created
    place = DataFolder(str(folder), accept_loss=True)
    place.has_lost = True
    try:
        Store(str(folder), None, place=place).close()
    finally:
        place.close()
