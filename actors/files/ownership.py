"""Who owns a store's folder, which process may open it, and why an open failed."""

import ctypes
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..core.model.errors import NotFound, Unavailable
from .free_space import is_full
from .private_files import FILE_MODE, replace_file

_home: int | None = None  # the process that has RocksDB's threads: a fork does not inherit them


def claim() -> None:
    """Call before opening a store. Raises `Unavailable` in a process that cannot open one."""
    global _home
    if _home is None:
        _home = os.getpid()
        os.register_at_fork(after_in_child=_exit_plainly)
    elif _home != os.getpid():
        raise Unavailable(
            f"process {_home}, which this one was forked from, has opened a queue: "
            "use Client here, or fork before it does"
        )


def _exit_plainly() -> None:
    """Make C's `exit` skip the C++ destructors.

    RocksDB's destructors wait for its threads, and a forked process has none of them: it would
    die of SIGSEGV. Python has finished when these handlers are called, the last one first; both
    ignore the arguments that they do not take. What was opened is never closed here: the frames
    of the threads that were not inherited hold it for ever.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # musl has none
        libc.on_exit(libc._exit, None)
        libc.on_exit(libc.fcloseall, None)


def sign(folder: Path, url: str | None) -> None:
    """Record who has the store open: RocksDB's own LOCK file is empty."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "url": url, "since": since}
    replace_file(folder / "owner.json", json.dumps(owner).encode())


def unsign(folder: Path) -> None:
    """Remove the record of who has it open. Call while the lock is still held."""
    with suppress(OSError):  # on a disk that is gone or read-only the old record stays
        (folder / "owner.json").unlink(missing_ok=True)


def lock_closed(folder: Path) -> int | None:
    """Keep the closed store in `folder` from being opened until the descriptor is closed; None if a
    process has it open.

    Raises `NotFound` if there is none. Never call this in a process that has it open: that would
    lose its lock.
    """
    if not (folder / "rocksdb" / "CURRENT").exists():
        raise NotFound(f"there is no queue in {folder}", field="data_dir")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(folder / "rocksdb" / "LOCK", flags, FILE_MODE)
    except OSError as error:
        raise Unavailable(f"the store in {folder} is not accessible: {error.strerror}") from None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as RocksDB locks it
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As `lock_closed`, in a `with`. Raises `Unavailable`, naming the process that has it open."""
    lock = lock_closed(folder)
    if lock is None:
        raise Unavailable(f"the folder {folder} is in use by {_owner(folder)}")
    try:
        yield
    finally:
        os.close(lock)


def url_of_owner(folder: Path) -> str | None:
    """The URL of the server that has the store open; None without one."""
    try:
        url = json.loads((folder / "owner.json").read_text())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) else None


def why_not(folder: Path, message: str) -> str:
    """Turn an error message of RocksDB or the system into a helpful sentence."""
    if "lock hold by current process" in message:
        return (
            f"the folder {folder} is in use by this process: "
            "use the QueueManager that has it open, or close that one first"
        )
    if "While lock file" in message or "lock hold by" in message:
        return f"the folder {folder} is in use by {_owner(folder)}"
    if "olumn families not opened" in message:
        return f"the store in {folder} was written by a newer version: use that one ({message})"
    if "orruption" in message:
        return (
            f"the store in {folder} is damaged ({message}); "
            "restore a copy of the folder, or move it away to start with an empty queue"
        )
    if is_full(message):
        return f"the disk is full: make room for the store in {folder} ({message})"
    return f"cannot open the store in {folder}: {message}"


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / "owner.json").read_text())
        where = f" at {owner['url']}" if owner.get("url") else ""
        return f"process {owner['pid']}{where}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
