"""What a check finds, and what helps."""

from collections.abc import Callable

from msgspec import Struct

REPAIR = "verify --repair rebuilds it"
DROP = "verify --repair deletes it"
RESTORE = "restore another backup"
UPGRADE = "use the version that wrote it, or a newer one"

Progress = Callable[[str, int, int], None]
"""Called with what is read, how much of it is done, and how much there is (0 if unknown)."""


class Fault(Struct, frozen=True):
    """Something wrong in a store: `where` it is, `what` is wrong, and the `remedy`."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def no_progress(what: str, done: int, total: int) -> None:
    """Shows nothing."""
