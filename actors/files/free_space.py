"""Whether the disk has room: looked at before work is taken on, and when a write has failed."""

import os
from pathlib import Path

from ..core.model.errors import Unavailable

# Kept for what is under way: outcomes, cancels, and RocksDB's own tables and journal.
RESERVE_BYTES = 32 << 20
_FULL = ("No space left on device", "Disk quota exceeded")  # as strerror has them


def is_full(message: str) -> bool:
    """Whether an error's words say that there was no room."""
    return any(full in message for full in _FULL)


def has_free_space(folder: str, size: int = 0) -> bool:
    """Whether `size` bytes may be taken on: they lie in the journal and in a table at times."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # gone, or out of reach: whoever writes there is told more
        return True
    return disk.f_bavail * disk.f_frsize >= RESERVE_BYTES + 2 * size


def check_free_space(folder: str, size: int = 0) -> None:
    """Raises `Unavailable` where there is no room for `size` bytes more."""
    if not has_free_space(folder, size):
        raise disk_full(folder)


def disk_full(folder: str) -> Unavailable:
    return Unavailable(
        f"the disk is full: {Path(folder).absolute()} needs {RESERVE_BYTES >> 20} MiB of free "
        "space; the queue continues when there is space again",
        retry_after_s=5,
    )
