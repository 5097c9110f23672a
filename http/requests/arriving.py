"""Bounds the bytes of all bodies that are arriving: they are in memory until they are complete."""

from threading import Lock

from ...actors.core.model.errors import Unavailable

MOST = 1 << 30  # bytes of all bodies together
SMALL = 256 << 10  # bytes of each that are not counted


class ArrivingBodies:
    """Counts what is held of bodies that are being received, over all requests."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held = 0
        self._lock = Lock()

    def hold(self, size: int) -> None:
        """Count so many more bytes. Raises `Unavailable` if all bodies together would be too
        large."""
        with self._lock:
            if self._held + size > self._most:
                raise Unavailable(
                    f"requests of more than {self._most >> 20} MiB together are arriving: "
                    "try again later, or send smaller ones",
                    retry_after_s=5,
                )
            self._held += size

    def release(self, size: int) -> None:
        with self._lock:
            self._held -= size

    @property
    def held(self) -> int:
        return self._held


ARRIVING = ArrivingBodies()
