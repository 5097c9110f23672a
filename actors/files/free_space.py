"""Checks for free disk space, before accepting work and after a failed write."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..core.fleet.refusals import refusal
from ..core.model.errors import Unavailable

# Reserved for work in progress: outcomes, cancels, and RocksDB's own tables and journal.
RESERVE_BYTES = 32 << 20
# A disk with this much more is not filled within `TRUST_S`.
AMPLE_BYTES = 1 << 30
TRUST_S = 0.1
_FULL = ("No space left on device", "Disk quota exceeded")  # as strerror words them


def is_full(message: str) -> bool:
    """Whether an error message says that the disk is full."""
    return any(full in message for full in _FULL)


def why_unwritten(error: str) -> str:
    """What to tell those whose data could not be written, by the error of the store."""
    if refused := refusal(error):
        return refused
    if is_full(error):
        return "the disk is full; the queue continues when there is space again"
    return "the queue could not write, and restarts; try again"


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


class FreeSpace:
    """Checks for free space before each submit, without a system call for each on a roomy disk.

    In a system call a thread releases the interpreter, and with many threads waits to get it back.
    `check` is `check_free_space`, or another function for it.
    """

    def __init__(self, folder: str, check: Callable[[str, int], None] = check_free_space) -> None:
        self._folder, self._check = folder, check
        self._ample_until = 0.0

    def check(self, size: int) -> None:
        """Raise `Unavailable` if there is no space for `size` more bytes."""
        if time.monotonic() < self._ample_until and size < AMPLE_BYTES // 8:
            return
        self._check(self._folder, size)
        try:
            self._check(self._folder, AMPLE_BYTES)
        except Unavailable:
            return
        self._ample_until = time.monotonic() + TRUST_S


def disk_full(folder: str) -> Unavailable:
    return Unavailable(
        f"the disk is full: {Path(folder).absolute()} needs {RESERVE_BYTES >> 20} MiB of free "
        "space; the queue continues when there is space again",
        retry_after_s=5,
    )
