"""To System: crashes, shutdown, and who leads."""

from msgspec import Struct

from .command import Command
from .scheduler import ServersSeen
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


class Elected(Struct, frozen=True):
    """This server leads from now on: `epoch` fences what it writes."""

    epoch: int


class Deposed(Struct, frozen=True):
    """The lead `epoch` of this server is over."""

    epoch: int
    why: str


ToSystem = Crashed | Shutdown | Wake
ToFleetSystem = ToSystem | Elected | Deposed | ServersSeen
