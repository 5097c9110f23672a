"""RocksDB's journal and manifest as files: their names and sizes."""

import os
import re
import time

from .private_files import narrow_file

TICK_NS = 50_000_000  # folder times are coarse: two changes within a tick have the same time
_NAME = re.compile(r"\d+\.log|MANIFEST-\d+")

Sizes = dict[str, int]


class WalFiles:
    """The files' sizes. Read at each fsync, so this costs three system calls if no file changes.

    The manifest lists the tables. RocksDB syncs it on its own, at times of its own, so the size
    that is reported for it is that of the previous call.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._newest_log = self._manifest = ""
        self._sizes: Sizes = {}
        self._before: Sizes = {}  # the manifest's size at the previous call
        self._seen_ns = -1  # the folder's modification time, once reliable

    def sizes(self) -> Sizes:
        """The current size of each file, by name. Raises `OSError` when the journal is gone."""
        if os.stat(self.folder).st_mtime_ns != self._seen_ns or not self._look_again():
            self._list()
        logs = {name: size for name, size in self._sizes.items() if name.endswith(".log")}
        sizes = logs | {name: size for name, size in self._before.items() if name == self._manifest}
        self._before = {self._manifest: self._sizes[self._manifest]}
        return sizes

    def _look_again(self) -> bool:
        """Read the sizes of the two files that grow; return False if either is gone."""
        for name in (self._newest_log, self._manifest):
            size = size_of(self.folder, name)
            if size is None:
                return False
            self._sizes[name] = size
        return True

    def _list(self) -> None:
        """List the folder. Makes new files private: RocksDB creates them by the process's umask."""
        changed_ns, now_ns = os.stat(self.folder).st_mtime_ns, time.time_ns()
        self._sizes = sizes_in(self.folder)
        names = sorted(self._sizes, key=number_of)
        logs = [name for name in names if name.endswith(".log")]
        manifests = [name for name in names if not name.endswith(".log")]
        if not manifests or not logs or number_of(logs[-1]) < number_of(self._newest_log):
            raise FileNotFoundError(f"files of the journal in {self.folder} have been removed")
        self._newest_log, self._manifest = logs[-1], manifests[-1]
        _narrow_all(self.folder)
        self._seen_ns = changed_ns if now_ns - changed_ns > TICK_NS else -1


def _narrow_all(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(descriptor):
            narrow_file(name, descriptor)
    finally:
        os.close(descriptor)


def sizes_in(folder: str) -> Sizes:
    """The sizes of all journal files and manifests."""
    sizes = {name: size_of(folder, name) for name in os.listdir(folder) if _NAME.fullmatch(name)}
    return {name: size for name, size in sizes.items() if size is not None}


def number_of(name: str) -> int:
    """The number in a file's name: RocksDB numbers its files in order of creation."""
    return int(re.sub(r"\D", "", name) or 0)


def size_of(folder: str, name: str) -> int | None:
    """The size of a file; None if it does not exist."""
    try:
        return os.stat(f"{folder}/{name}").st_size
    except FileNotFoundError:
        return None
