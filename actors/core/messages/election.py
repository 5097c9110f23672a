"""To the Election: answers to its beats, and what System asks of it."""

from msgspec import Struct

from ..fleet.candidacy import Question
from ..fleet.servers import Sight
from .command import Command
from .wake import Wake


class Beaten(Struct, frozen=True):
    """A beat has been answered. `asked_at` is from before it was sent, by the steady clock; `epoch`
    is that of this server's lead, None if it does not lead. `refused` is the error with which the
    database refused to note the beat, empty if it did not: then this server has only looked."""

    question: Question
    asked_at: float
    epoch: int | None
    sight: Sight
    refused: str = ""


class BeatFailed(Struct, frozen=True):
    """The database did not answer a beat, or refused it."""

    error: str


class Nudged(Struct, frozen=True):
    """The leader has resigned, as it told whoever listens."""


class Left(Struct, frozen=True):
    """This server has resigned and left, or the database did not answer."""


class Rest(Struct, frozen=True):
    """The store of the lead `epoch` has failed: give it up, and try again in so many seconds."""

    epoch: int
    seconds: float


class Retreat(Struct, frozen=True):
    """Show that this server makes no more calls for others, at once."""


class ShowRefusal(Struct, frozen=True):
    """Show why this server, which leads, only reads; None: it decides."""

    refusal: str | None


class Resign(Command[bool], frozen=True):
    """Leave the fleet. Reply: True, once the others can see it, or it cannot be told them."""


ToElection = Beaten | BeatFailed | Nudged | Left | Rest | Retreat | ShowRefusal | Resign | Wake
