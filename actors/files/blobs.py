"""The bytes of files, beside the store: one private file each, in the folder `files`."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..core.model.files import FILE_ID
from .private_files import FILE_MODE, FOLDER_MODE, sync_folder

FOLDER = "files"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class OpenBlob(Protocol):
    """The bytes of one file, open for writing or for reading. Methods raise `OSError`."""

    def write(self, data: bytes) -> None: ...

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""

    def sync(self) -> None:
        """Make what is written durable."""

    def close(self) -> None: ...


class Blobs(Protocol):
    """Keeps bytes by the id of their file. Methods raise `OSError`."""

    def create(self, blob_id: str) -> OpenBlob: ...

    def open(self, blob_id: str) -> OpenBlob:
        """Raises `FileNotFoundError` for an unknown id."""

    def has(self, blob_id: str) -> bool: ...

    def remove(self, blob_id: str) -> None:
        """Remove, if it is there. Those who have it open can go on reading it."""

    def ids(self) -> set[str]:
        """The ids of all that are there."""

    def release(self) -> None:
        """Let go of what they are reached by; they may be used again."""


class BlobFolder:
    """`Blobs` in a folder, which is created with the first of them.

    Only names that are ids of files are touched: the folder may have been there before.
    """

    def __init__(self, data_folder: str | Path) -> None:
        self._folder = Path(data_folder).absolute() / FOLDER

    def _path(self, blob_id: str) -> Path:
        """Raises `FileNotFoundError` for what is no id, and could lead out of the folder."""
        if FILE_ID.fullmatch(blob_id) is None:
            raise FileNotFoundError(f"{blob_id!r} is not the id of a file")
        return self._folder / blob_id

    def create(self, blob_id: str) -> OpenBlob:
        path = self._path(blob_id)
        with suppress(FileExistsError):
            self._folder.mkdir(FOLDER_MODE)
            self._folder.chmod(FOLDER_MODE)  # the umask may have removed bits of the owner
            sync_folder(self._folder.parent)
        return _BlobOnDisk(path, _NEW)

    def open(self, blob_id: str) -> OpenBlob:
        return _BlobOnDisk(self._path(blob_id), _READ)

    def has(self, blob_id: str) -> bool:
        return FILE_ID.fullmatch(blob_id) is not None and self._path(blob_id).is_file()

    def remove(self, blob_id: str) -> None:
        self._path(blob_id).unlink(missing_ok=True)

    def ids(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._folder) if FILE_ID.fullmatch(name)}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def release(self) -> None:
        pass


class _BlobOnDisk:
    """An `OpenBlob` by its descriptor: a native thread may use it."""

    def __init__(self, path: Path, flags: int) -> None:
        self._path, self._descriptor = path, os.open(path, flags, FILE_MODE)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def sync(self) -> None:
        os.fsync(self._descriptor)
        sync_folder(self._path.parent)

    def close(self) -> None:
        os.close(self._descriptor)


class MemoryBlobs:
    """`Blobs` in memory, for users' tests."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytearray] = {}

    def create(self, blob_id: str) -> OpenBlob:
        return _BlobInMemory(self._blobs.setdefault(blob_id, bytearray()))

    def open(self, blob_id: str) -> OpenBlob:
        if blob_id not in self._blobs:
            raise FileNotFoundError(f"there is no {blob_id}")
        return _BlobInMemory(self._blobs[blob_id])

    def has(self, blob_id: str) -> bool:
        return blob_id in self._blobs

    def remove(self, blob_id: str) -> None:
        self._blobs.pop(blob_id, None)

    def ids(self) -> set[str]:
        return set(self._blobs)

    def release(self) -> None:
        pass


class _BlobInMemory:
    def __init__(self, data: bytearray) -> None:
        self._data, self._at = data, 0

    def write(self, data: bytes) -> None:
        self._data += data

    def read(self, size: int) -> bytes:
        begin, self._at = self._at, self._at + size
        return bytes(self._data[begin : self._at])

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass
