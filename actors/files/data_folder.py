"""A store's folder: private, and checked to stay the same one while a queue runs."""

import os
from pathlib import Path

from ..base.actor import log
from ..core.model.errors import Unavailable
from .private_files import narrow, narrow_file, open_folder

# What a queue and its tools put in its folder. A folder with other content too, such as a whole
# project, keeps its mode: then only RocksDB's folder and each file are private.
OURS = (
    *("rocksdb", "files", "owner.json", "owner.json.new", "sentinel", "sentinel.new"),
    *("snapshot", "snapshot.part", "backup.lock", "restore.part"),
    "lost+found",
)


class DataFolder:
    """The folder of one queue, over all its reboots. Held open from the first `claim` on."""

    def __init__(self, folder: str, *, accept_loss: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self.rocks = self.folder / "rocksdb"
        self._rocks = str(self.rocks)  # checked around each fsync
        self.accepts_loss = accept_loss  # until it has been opened once
        self.has_lost = False  # a loss was accepted: the families must be repaired
        self._pins: list[int] = []  # kept open, so that inode numbers are not reused
        self._claimed: os.stat_result | None = None  # of RocksDB's folder

    def claim(self) -> None:
        """Create the folder, or make it private; later calls check that it is still the same.

        Raises `Unavailable`, with a clear sentence, if it is not ours or not the same; `OSError`.
        """
        if self._pins:
            self.check()
            return
        self._pins.append(open_folder(self.folder))
        if _is_ours_alone(self._pins[0]):
            self._narrow(self.folder, self._pins[0])

    def claim_rocks(self) -> None:
        """Claim RocksDB's folder inside it, once it is known that no files are missing."""
        if len(self._pins) == 1:
            self._pins.append(open_folder(self.rocks))
            self._claimed = os.fstat(self._pins[1])
            self._narrow(self.rocks, self._pins[1])
        self.narrow_files()

    def _narrow(self, folder: Path, descriptor: int) -> None:
        try:
            mode = narrow(descriptor)
        except OSError as error:
            log.warning("%s cannot be made private: %s", folder, error.strerror)
            return
        if mode is not None:
            log.warning("%s was accessible to other users (%04o): made private", folder, mode)

    def narrow_files(self) -> None:
        """Make RocksDB's files private: RocksDB creates them by the umask."""
        for descriptor in self._pins:
            for name in os.listdir(descriptor):
                if descriptor == self._pins[-1] or name in OURS:
                    narrow_file(name, descriptor)

    def why_gone(self) -> str | None:
        """Why the claimed folder is no longer there, as a sentence; None if it is."""
        try:
            if self._claimed is None or os.path.samestat(os.stat(self._rocks), self._claimed):
                return None
        except OSError:
            pass
        return (
            f"the folder {self.folder} has been removed or replaced while the queue was running: "
            "nothing more is accepted; put it back, or choose another folder, and restart"
        )

    def is_replaced(self) -> bool:
        """Whether the folder is gone and another one is in its place."""
        return self.why_gone() is not None and self.rocks.exists()

    def check(self) -> None:
        """Raise `Unavailable` if the folder is not the one that was claimed."""
        why = self.why_gone()
        if why is not None:
            raise Unavailable(why)

    def close(self) -> None:
        self._claimed = None
        while self._pins:
            os.close(self._pins.pop())


def _is_ours_alone(descriptor: int) -> bool:
    """Whether the folder contains only files of a queue, including its logs."""
    return all(name in OURS or ".log" in name for name in os.listdir(descriptor))
