"""RocksDB's journal and manifest as files: which there are, and how long each is."""

import os
import re
import time

from ..files.private_files import narrow_file

TICK_NS = 50_000_000  # a folder's time is coarse: what changes within a tick looks the same
_NAME = re.compile(r"\d+\.log|MANIFEST-\d+")

Sizes = dict[str, int]


class WalFiles:
    """Watched at each fsync, so it costs three calls of the system while no file comes or goes.

    The manifest says which tables there are. RocksDB syncs it by itself, at moments of its own:
    what is told of it is what was seen one look earlier.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._newest_log = self._manifest = ""
        self._sizes: Sizes = {}
        self._before: Sizes = {}  # the manifest's size, one look earlier
        self._seen_ns = -1  # the folder's time of change, once it can be relied on

    def sizes(self) -> Sizes:
        """The size of each file by its name, now. Raises `OSError` when the journal is gone."""
        if os.stat(self.folder).st_mtime_ns != self._seen_ns or not self._look_again():
            self._list()
        logs = {name: size for name, size in self._sizes.items() if name.endswith(".log")}
        sizes = logs | {name: size for name, size in self._before.items() if name == self._manifest}
        self._before = {self._manifest: self._sizes[self._manifest]}
        return sizes

    def _look_again(self) -> bool:
        """At the two that grow; False when they are gone."""
        for name in (self._newest_log, self._manifest):
            size = size_of(self.folder, name)
            if size is None:
                return False
            self._sizes[name] = size
        return True

    def _list(self) -> None:
        """Anew. What has come since is made private: RocksDB knows only the process's umask."""
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
    """Of all files of the journal, and of the manifests."""
    sizes = {name: size_of(folder, name) for name in os.listdir(folder) if _NAME.fullmatch(name)}
    return {name: size for name, size in sizes.items() if size is not None}


def number_of(name: str) -> int:
    """RocksDB numbers all of its files in the order in which it makes them."""
    return int(re.sub(r"\D", "", name) or 0)


def size_of(folder: str, name: str) -> int | None:
    """None for a file that there is not."""
    try:
        return os.stat(f"{folder}/{name}").st_size
    except FileNotFoundError:
        return None
