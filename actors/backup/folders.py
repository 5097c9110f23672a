"""Backups: a snapshot of a store becomes one, and one becomes a data folder."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from ..core.model.errors import Conflict, Invalid, Unavailable
from ..core.model.stats import StoreSnapshot
from ..files.data_folder import DataFolder
from ..files.free_space import check_free_space
from ..files.private_files import FILE_MODE, FOLDER_MODE, sync_folder
from ..files.snapshots import drop_snapshot, take_snapshot
from ..store.encoding import decode_counts
from ..store.sentinel import check_files, unmark
from .faults import Progress, no_progress
from .manifest import BackupManifest, check_bytes, files_in, read_manifest, write_manifest
from .store_reader import StoreReader
from .verification import NO_COUNTS, check_records

TRIES = 3
RESTORING = "restore.part"
_SPARE = frozenset({"lost+found", RESTORING})  # may be in a folder that a backup is restored to


# --- backing up ---------------------------------------------------------------------------------


def back_up(
    target: Path,
    data_folder: Path,
    take: Callable[[], StoreSnapshot],
    progress: Progress = no_progress,
) -> BackupManifest:
    """Write a backup of the store in `data_folder` to `target`. Returns what it contains.

    `take` takes a snapshot of the store. On the same disk the backup consists of links; a backup
    must not be written to, and this one's files are never changed. `target` appears when it is
    complete and durable. Raises `Conflict` if it exists with content, or another backup or export
    is being made; `Unavailable` if the disk refuses it; what `take` raises.
    """
    target = target.absolute()
    part = target.with_name(f".{target.name}.part")
    with one_at_a_time(data_folder), disk_errors("the backup cannot be written"):
        check_is_free(target, frozenset())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)  # left by a crash
        snapshot = _take_whole(take)
        try:
            _move(Path(snapshot.path), part)
            manifest = _complete(part, snapshot.taken_at, progress)
            if target.exists():
                target.rmdir()
            part.rename(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        finally:
            drop_snapshot(data_folder)
    return manifest


@contextmanager
def snapshot_to_read(
    data_folder: Path, take: Callable[[], StoreSnapshot]
) -> Iterator[StoreSnapshot]:
    """Take a snapshot, and drop it at the end. Raises as `back_up` does."""
    with one_at_a_time(data_folder), disk_errors("the snapshot cannot be taken"):
        snapshot = _take_whole(take)
        try:
            yield snapshot
        finally:
            drop_snapshot(data_folder)


def snapshot_of_closed(data_folder: Path) -> StoreSnapshot:
    """Take a snapshot of a store that no process has open; the caller has it locked.

    Raises `Unavailable` if acknowledged data is missing in it; `OSError`.
    """
    check_files(DataFolder(str(data_folder)))
    path = take_snapshot(data_folder)
    return StoreSnapshot(path=str(path), taken_at=datetime.now(UTC), tasks=0)


def _take_whole(take: Callable[[], StoreSnapshot]) -> StoreSnapshot:
    """Take a snapshot that can be opened: RocksDB may have merged a table while it was taken."""
    for _ in range(TRIES):
        snapshot = take()
        check_is_here(Path(snapshot.path))
        try:
            StoreReader(Path(snapshot.path) / "rocksdb").__exit__()
        except Unavailable as error:
            refusal = error
        else:
            return snapshot
    raise refusal


def check_is_here(snapshot: Path) -> None:
    """Raise `Unavailable` if the server's snapshot is not on this machine."""
    if not snapshot.is_dir():
        raise Unavailable(
            f"the server's snapshot is in {snapshot}, which is not on this machine, or not "
            "accessible to this user: run this command where the server runs, as its user"
        )


def _move(snapshot: Path, part: Path) -> None:
    try:
        snapshot.rename(part)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        size = sum(path.stat().st_size for path in snapshot.rglob("*") if path.is_file())
        check_free_space(str(part.parent), size // 2)  # which is doubled: a journal and a table
        shutil.copytree(snapshot, part)


def _complete(part: Path, taken_at: datetime, progress: Progress) -> BackupManifest:
    """Turn a snapshot into a backup: drop bytes without a record, sync all, write the manifest."""
    with StoreReader(part / "rocksdb") as store:
        files = {key.decode() for key in _keys(store, "files")}
        for path in (part / "files").iterdir():
            if path.name not in files:  # its record came later, or never
                path.unlink()
        counts = decode_counts(store.families["meta"].get(b"counts") or NO_COUNTS)
        manifest = BackupManifest(
            taken_at=taken_at,
            store=store.text(b"id"),
            format=store.format,
            tasks={status: sum(levels.values()) for status, levels in counts.items()},
            batches=sum(1 for _ in _keys(store, "batches")),
            crons=sum(1 for _ in _keys(store, "crons")),
            stored_files=len(files),
            files={},
        )
    sync_all(part)
    manifest = replace(manifest, files=files_in(part, progress))
    write_manifest(part, manifest)
    return manifest


def _keys(store: StoreReader, family: str) -> Iterator[bytes]:
    rows = store.families[family].between(b"", b"g") if family in store.families else ()
    return (key for key, _ in rows)


# --- restoring ----------------------------------------------------------------------------------


def restore(
    backup: Path,
    data_folder: Path,
    progress: Progress = no_progress,
    *,
    accept_loss: bool = False,
) -> BackupManifest:
    """Copy a backup to a new data folder, after checking it. Returns what it contains.

    Raises `Invalid` if it is not a backup, `Conflict` if the data folder has content, `Unavailable`
    if the backup has faults (unless `accept_loss`) or the disk refuses it. After an error or a
    crash the folder contains no store.
    """
    manifest = read_manifest(backup)
    if manifest is None:
        raise Invalid(f"{backup} is not a backup: it has no backup.json", field="backup")
    with disk_errors("the backup cannot be restored"):
        check_is_free(data_folder, _SPARE)
        faults = chain(check_bytes(backup, manifest, progress), check_records(backup, progress))
        fault = None if accept_loss else next(faults, None)
        if fault is not None:
            raise Unavailable(
                f"the backup is damaged ({fault.where}: {fault.what}): verify lists what is wrong, "
                "--accept-loss restores what is left"
            )
        part = data_folder / RESTORING
        shutil.rmtree(part, ignore_errors=True)
        data_folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        part.mkdir(FOLDER_MODE)
        try:
            check_free_space(str(part), manifest.size // 2)  # which is doubled there
            _copy_all(backup, part, manifest, progress)
            sync_all(part)
            unmark(data_folder)
            for name in ("files", "rocksdb"):  # with RocksDB it is a store
                (part / name).rename(data_folder / name)
            part.rmdir()
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(data_folder)
        sync_folder(data_folder.parent)
    return manifest


def _copy_all(backup: Path, part: Path, manifest: BackupManifest, progress: Progress) -> None:
    for name in ("files", "rocksdb"):
        (part / name).mkdir(FOLDER_MODE)
    for count, name in enumerate(manifest.files):
        progress("copied", count, len(manifest.files))
        target = part / name
        is_ours = Path(name).parts[:-1] in (("files",), ("rocksdb",))  # no other place
        if is_ours and (backup / name).exists():  # else it was accepted
            shutil.copyfile(backup / name, target)
            target.chmod(FILE_MODE)


# --- shared -------------------------------------------------------------------------------------


@contextmanager
def one_at_a_time(data_folder: Path) -> Iterator[None]:
    """Let no other backup or export replace the snapshot meanwhile. Raises `Conflict`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(data_folder / "backup.lock", flags, FILE_MODE)
    except OSError as error:
        raise Unavailable(f"{data_folder} is not accessible: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another backup or export of {data_folder} is being made: wait for its end"
            ) from None
        yield
    finally:
        os.close(lock)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` into one sentence, an `Unavailable`."""
    try:
        yield
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or error
        where = getattr(error, "filename", None)
        raise Unavailable(f"{what}: {f'{where}: ' if where else ''}{reason}") from None


def check_is_free(folder: Path, spare: frozenset[str]) -> None:
    """Raise `Conflict` unless a folder is missing or has no content but `spare`."""
    try:
        names = set(os.listdir(folder)) - spare
    except FileNotFoundError:
        return
    if names:
        raise Conflict(
            f"{folder} is not empty (it has {min(names)}): name a folder that does not exist yet"
        )


def sync_all(folder: Path) -> None:
    """Make all files and folders in a folder durable. Raises `OSError`."""
    for path in chain([folder], folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
