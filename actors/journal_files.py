"""RocksDB's journal as files: which there are, and how long each is."""

import os
import time

from ollama_queue.actors.private_files import narrow_file

TICK_NS = 50_000_000  # a folder's time is coarse: what changes within a tick looks the same


class JournalFiles:
    """Watched at each fsync, so it costs two calls of the system while no file comes or goes."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._sizes: dict[int, int] = {}
        self._seen_ns = -1  # the folder's time of change, once it can be relied on

    def sizes(self) -> dict[int, int]:
        """The size of each file by its number, now. Raises `OSError` when the journal is gone."""
        newest = max(self._sizes, default=0)
        if os.stat(self.folder).st_mtime_ns == self._seen_ns:
            try:
                return self._sizes | {newest: os.stat(_path(self.folder, newest)).st_size}
            except FileNotFoundError:
                pass
        self._list()
        if max(self._sizes, default=-1) < newest:
            raise FileNotFoundError(f"the journal {_path(self.folder, newest)} has been removed")
        return self._sizes

    def _list(self) -> None:
        """Anew. What has come since is made private: RocksDB knows only the process's umask."""
        changed_ns, now_ns = os.stat(self.folder).st_mtime_ns, time.time_ns()
        self._sizes = sizes_in(self.folder)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(descriptor):
                narrow_file(name, descriptor)
        finally:
            os.close(descriptor)
        self._seen_ns = changed_ns if now_ns - changed_ns > TICK_NS else -1


def sizes_in(folder: str) -> dict[int, int]:
    sizes = {}
    for name in os.listdir(folder):
        stem, dot, kind = name.partition(".")
        if dot and kind == "log" and stem.isdecimal():
            size = size_of(folder, int(stem))
            if size is not None:
                sizes[int(stem)] = size
    return sizes


def size_of(folder: str, number: int) -> int | None:
    """None for a file that there is not."""
    try:
        return os.stat(_path(folder, number)).st_size
    except FileNotFoundError:
        return None


def _path(folder: str, number: int) -> str:
    return f"{folder}/{number:06d}.log"
