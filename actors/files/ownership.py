"""Who owns a store's folder, which process may open it, and why an open failed."""

import ctypes
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ..core.model.errors import Unavailable
from .free_space import is_full
from .private_files import replace_file

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


def why_not(folder: Path, message: str) -> str:
    """Turn an error message of RocksDB or the system into a helpful sentence."""
    if "lock hold by current process" in message:
        return (
            f"the folder {folder} is in use by this process: "
            "use the QueueManager that has it open, or close that one first"
        )
    if "While lock file" in message or "lock hold by" in message:
        return f"the folder {folder} is in use by {_owner(folder)}"
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
