"""The check for free space looks at the disk rarely where there is plenty."""

import pytest

from ollama_queue import Unavailable
from ollama_queue.actors.files import free_space
from ollama_queue.actors.files.free_space import AMPLE_BYTES, FreeSpace, disk_full


class Disk:
    """A disk with so many bytes free."""

    def __init__(self, free: int) -> None:
        self.free, self.looks = free, 0

    def check(self, folder: str, size: int) -> None:
        self.looks += 1
        if size > self.free:
            raise disk_full(folder)


def test_a_roomy_disk_is_not_looked_at_for_each_task() -> None:
    disk = Disk(4 * AMPLE_BYTES)
    space = FreeSpace("/", disk.check)
    space.check(100)
    looks = disk.looks

    for _ in range(10):
        space.check(100)

    assert disk.looks == looks


def test_a_nearly_full_disk_is_looked_at_for_each_task() -> None:
    disk = Disk(1000)
    space = FreeSpace("/", disk.check)
    space.check(100)
    disk.free = 0

    with pytest.raises(Unavailable, match="full"):
        space.check(100)


def test_a_roomy_disk_is_looked_at_for_a_huge_task() -> None:
    disk = Disk(AMPLE_BYTES)
    space = FreeSpace("/", disk.check)
    space.check(100)

    with pytest.raises(Unavailable, match="full"):
        space.check(2 * AMPLE_BYTES)


def test_trust_in_a_roomy_disk_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_space, "TRUST_S", 0.0)
    disk = Disk(AMPLE_BYTES)
    space = FreeSpace("/", disk.check)
    space.check(100)
    disk.free = 0

    with pytest.raises(Unavailable, match="full"):
        space.check(100)
