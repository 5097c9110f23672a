"""To System: crashes, and shutdown."""

from msgspec import Struct

from .command import Command
from .wake import Wake


class Crashed(Struct, frozen=True):
    """An actor of generation `generation` has crashed. The error is text: an exception would keep
    its traceback alive, and with it the store's lock."""

    actor: str
    generation: int
    error: str


class Shutdown(Command[None], frozen=True):
    """Stop everything in order. Reply: None, once all is on disk and closed."""

    grace_s: float


ToSystem = Crashed | Shutdown | Wake
