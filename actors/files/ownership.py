"""Whose a store's folder is, which process may open one, and why it cannot be had."""

import ctypes
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ..core.model.errors import Unavailable
from .free_space import is_full
from .private_files import replace_file

_home: int | None = None  # the process that RocksDB's threads are in: a fork leaves them behind


def claim() -> None:
    """To be called before a store is opened. Raises `Unavailable` where none can be."""
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
    """Have C's `exit` leave out what C++ would destroy.

    RocksDB's destructors wait for its threads, and a forked process has none of them: it would
    die of SIGSEGV. Python has ended already when these are called, the last one first; both pass
    over the arguments that they do not take. What was opened is never closed here: the frames of
    the threads that were left behind hold it for ever.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # musl has none
        libc.on_exit(libc._exit, None)
        libc.on_exit(libc.fcloseall, None)


def sign(folder: Path, url: str | None) -> None:
    """Say who has it open: RocksDB's own LOCK file is empty."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "url": url, "since": since}
    replace_file(folder / "owner.json", json.dumps(owner).encode())


def unsign(folder: Path) -> None:
    """Nobody has it open any more; to be called while the lock is still held."""
    with suppress(OSError):  # on a disk that is gone or read-only it stays, and says what was
        (folder / "owner.json").unlink(missing_ok=True)


def why_not(folder: Path, message: str) -> str:
    """What RocksDB or the system says, as a sentence that helps."""
    if "lock hold by current process" in message:
        return (
            f"the folder {folder} is in use by this very process: "
            "use the QueueManager that has it open, or close that one first"
        )
    if "While lock file" in message or "lock hold by" in message:
        return f"the folder {folder} is in use by {_owner(folder)}"
    if "orruption" in message:
        return (
            f"the store in {folder} is damaged ({message}); "
            "restore a copy of the folder, or move it away to begin anew"
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
