"""Folders and files that only their owner can read, whatever the umask."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from ..core.model.errors import Unavailable

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = 0o077  # permissions of group and others
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(folder: Path, *, create: bool = True) -> int:
    """Open `folder` and return its descriptor; create it with mode 0700 if it is missing.

    Raises `Unavailable` if it is a link or belongs to another user: others could read or replace
    what is written there. Raises `OSError` if it cannot be created or opened.
    """
    if create:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(FOLDER_MODE)
            folder.chmod(FOLDER_MODE)  # the umask may have removed bits of the owner
    if folder.is_symlink():
        raise Unavailable(
            f"cannot open the store in {folder}: it is a symbolic link, name the folder it "
            f"leads to ({os.path.realpath(folder)})"
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        os.close(descriptor)
        raise Unavailable(
            f"cannot open the store in {folder}: it belongs to {_user(owner)}, and this process "
            f"runs as {_user(os.geteuid())}; use a folder of its own"
        )
    return descriptor


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def narrow(descriptor: int) -> int | None:
    """Remove the permissions of group and others; the old mode, or None if it was private."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if not mode & OTHERS:
        return None
    os.fchmod(descriptor, mode & ~OTHERS)
    return mode


def narrow_file(name: str, folder: int) -> None:
    """Make a regular file private; ignores a file that no longer exists."""
    with suppress(FileNotFoundError, PermissionError):
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(facts.st_mode) and facts.st_mode & OTHERS:
            os.chmod(name, stat.S_IMODE(facts.st_mode) & ~OTHERS, dir_fd=folder)


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Atomically write a private file: a reader gets either the old or the new content, complete.

    With `durable`, this also holds after a power failure, and the new content is on disk.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # left by a crash
    with open(os.open(draft, _NEW, FILE_MODE), "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    draft.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_opener(path: str, flags: int) -> int:
    """An opener for `open`: files it creates are private; existing ones keep their mode."""
    return os.open(path, flags, FILE_MODE)
