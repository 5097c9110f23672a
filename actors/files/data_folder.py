"""Where a store lies: a private folder, which stays the same one while a queue runs."""

import os
from pathlib import Path

from ..base.actor import log
from ..core.model.errors import Unavailable
from .private_files import narrow, narrow_file, open_folder

# What a queue and its surroundings keep in their folder. One that holds other things as well, such
# as a whole project, keeps its mode: what is private in it is RocksDB's folder and each file.
OURS = ("rocksdb", "owner.json", "owner.json.new", "sentinel", "sentinel.new", "lost+found")


class DataFolder:
    """The folder of one queue, over all its reboots. Holds on to it from the first `claim` on."""

    def __init__(self, folder: str, *, accept_loss: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self.rocks = self.folder / "rocksdb"
        self._rocks = str(self.rocks)  # looked at around each fsync
        self.accepts_loss = accept_loss  # until it has been opened once
        self.has_lost = False  # and that was accepted: what is left must be made to agree
        self._pins: list[int] = []  # descriptors: no other folder gets these numbers
        self._claimed: os.stat_result | None = None  # of RocksDB's folder

    def claim(self) -> None:
        """Make the folder, or make it private; the second time see that it is still the same.

        Raises `Unavailable` with a sentence when it is not ours, or not the same; `OSError`.
        """
        if self._pins:
            self.check()
            return
        self._pins.append(open_folder(self.folder))
        if _is_ours_alone(self._pins[0]):
            self._narrow(self.folder, self._pins[0])

    def claim_rocks(self) -> None:
        """The same for RocksDB's folder in it, once it is known that nothing is missing."""
        if len(self._pins) == 1:
            self._pins.append(open_folder(self.rocks))
            self._claimed = os.fstat(self._pins[1])
            self._narrow(self.rocks, self._pins[1])
        self.narrow_files()

    def _narrow(self, folder: Path, descriptor: int) -> None:
        try:
            mode = narrow(descriptor)
        except OSError as error:
            log.warning("%s cannot be kept from other users: %s", folder, error.strerror)
            return
        if mode is not None:
            log.warning("%s was open to other users (%04o): it is private now", folder, mode)

    def narrow_files(self) -> None:
        """Make private what RocksDB, with the umask of its process, has made."""
        for descriptor in self._pins:
            for name in os.listdir(descriptor):
                if descriptor == self._pins[-1] or name in OURS:
                    narrow_file(name, descriptor)

    def why_gone(self) -> str | None:
        """A sentence, where the folder has been removed, moved or replaced since the claim."""
        try:
            if self._claimed is None or os.path.samestat(os.stat(self._rocks), self._claimed):
                return None
        except OSError:
            pass
        return (
            f"the folder {self.folder} has been removed or replaced while the queue was running: "
            "nothing more is taken on; put it back, or choose another, and start anew"
        )

    def is_replaced(self) -> bool:
        """Whether it is gone, and another lies where it was."""
        return self.why_gone() is not None and self.rocks.exists()

    def check(self) -> None:
        """Raises `Unavailable` where the folder is not the one that was claimed."""
        why = self.why_gone()
        if why is not None:
            raise Unavailable(why)

    def close(self) -> None:
        self._claimed = None
        while self._pins:
            os.close(self._pins.pop())


def _is_ours_alone(descriptor: int) -> bool:
    """Whether all in it is a queue's, its logs among it."""
    return all(name in OURS or ".log" in name for name in os.listdir(descriptor))
