"""A file system of its own that tests fill up and free."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

MIB = 1 << 20


class SmallDisk:
    """`size` MiB; `fill` takes all of it but so many, `free` gives them back."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._filler = folder, folder / "filler"
        options = ["-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)]
        try:
            mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if mounted.returncode != 0:
            pytest.skip("mounting is not allowed here")

    def fill(self, but: int = 0) -> None:
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(b"\0" * 4096 * 16)
        left = max(self._filler.stat().st_size - but * MIB, 0) if but else None
        if left is not None:
            with self._filler.open("r+b") as filler:
                filler.truncate(left)

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
