"""What is in a backup, written last: a folder with a manifest is a complete one."""

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from ..core.model.errors import Invalid
from ..core.model.tasks import PublicRecord
from ..files.private_files import replace_file
from .faults import RESTORE, Fault, Progress

NAME = "backup.json"
VERSION = 1
PIECE = 1 << 20


class BackedUpFile(Struct, frozen=True):
    """A file of a backup: its size in bytes, and its BLAKE2b digest (32 bytes, as hex)."""

    size: int
    blake2b: str


class BackupManifest(Struct, PublicRecord, frozen=True, kw_only=True):
    """What is in a backup that was `taken_at` a time.

    `tasks` are the numbers of tasks by status, `crons`, `batches` and `stored_files` those of the
    other records; `format` is the store's, `store` its id; `files` are the backup's own, by path.
    `version` is that of the manifest's form.
    """

    version: int = VERSION
    taken_at: datetime
    store: str
    format: int
    tasks: dict[str, int]
    batches: int
    crons: int
    stored_files: int
    files: dict[str, BackedUpFile]

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(file.size for file in self.files.values())


def write_manifest(folder: Path, manifest: BackupManifest) -> None:
    """Complete the backup, durably. Raises `OSError`."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    replace_file(folder / NAME, encoded + b"\n", durable=True)


def read_manifest(folder: Path) -> BackupManifest | None:
    """The manifest; None if the folder is no backup. Raises `Invalid` if it cannot be read."""
    try:
        raw = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Invalid(f"{folder / NAME} cannot be read: {error.strerror}") from None
    try:
        manifest = msgspec.json.decode(raw, type=BackupManifest)
    except msgspec.DecodeError as error:
        raise Invalid(f"{folder / NAME} is damaged: {error}") from None
    if manifest.version > VERSION:
        raise Invalid(f"{folder} is a backup of a newer version: use that one")
    return manifest


def files_in(folder: Path, progress: Progress) -> dict[str, BackedUpFile]:
    """All files in a folder but the manifest, by path. Raises `OSError`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    found = {}
    for count, path in enumerate(paths):
        progress("files", count, len(paths))
        found[str(path.relative_to(folder))] = BackedUpFile(path.stat().st_size, digest_of(path))
    return found


def digest_of(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def check_bytes(folder: Path, manifest: BackupManifest, progress: Progress) -> Iterator[Fault]:
    """Compare a backup's files with its manifest."""
    for count, (name, known) in enumerate(manifest.files.items()):
        progress("files", count, len(manifest.files))
        path = folder / name
        try:
            size = os.stat(path, follow_symlinks=False).st_size
            if size != known.size:
                yield Fault(name, f"has {size} bytes instead of {known.size}", RESTORE)
            elif digest_of(path) != known.blake2b:
                yield Fault(name, "has changed since the backup was made", RESTORE)
        except OSError as error:
            yield Fault(name, f"cannot be read: {error.strerror}", RESTORE)
