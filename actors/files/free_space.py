"""Checks for free disk space, before accepting work and after a failed write."""

import os
from pathlib import Path

from ..core.model.errors import Unavailable

# Reserved for work in progress: outcomes, cancels, and RocksDB's own tables and journal.
RESERVE_BYTES = 32 << 20
_FULL = ("No space left on device", "Disk quota exceeded")  # as strerror words them


def is_full(message: str) -> bool:
    """Whether an error message says that the disk is full."""
    return any(full in message for full in _FULL)


def has_free_space(folder: str, size: int = 0) -> bool:
    """Whether `size` more bytes fit. They may be in the journal and in a table at the same time."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # gone or unreachable: writing there will report the error
        return True
    return disk.f_bavail * disk.f_frsize >= RESERVE_BYTES + 2 * size


def check_free_space(folder: str, size: int = 0) -> None:
    """Raise `Unavailable` if there is no space for `size` more bytes."""
    if not has_free_space(folder, size):
        raise disk_full(folder)


def disk_full(folder: str) -> Unavailable:
    return Unavailable(
        f"the disk is full: {Path(folder).absolute()} needs {RESERVE_BYTES >> 20} MiB of free "
        "space; the queue continues when there is space again",
        retry_after_s=5,
    )
