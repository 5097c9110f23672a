"""To LeaderProxy: what a server that follows has the leader's actors answer."""

from typing import Any

from msgspec import Struct

from ..model.stats import QueueStats
from .command import Command
from .scheduler import Cancel, Explain, Submit
from .wake import Wake


class GetQueueStats(Command[QueueStats], frozen=True):
    """Reply: the state of the queue as far as a tenant's tasks go; None: of all."""

    tenant: str | None = None


Changing = Submit | Cancel
ForLeader = Changing | Explain | GetQueueStats
"""What one server may ask another one that leads. Only added to within a minor version."""

ANSWERED_BY: dict[type[Command[Any]], str] = {
    Submit: "scheduler",
    Cancel: "scheduler",
    Explain: "scheduler",
}
"""The actor that answers each, by its name in a `Generation`; the queue itself answers the rest."""


class Flush(Struct, frozen=True):
    """To itself, behind the mail that is there: send all that has gathered."""


class BatchAnswered(Struct, frozen=True):
    """From its threads: the replies to a batch, in order; each may be a `QueueError`."""

    batch: int
    replies: list[Any]


class LeaderChanged(Struct, frozen=True):
    """Another server leads, or none."""


ToLeaderProxy = ForLeader | Flush | BatchAnswered | LeaderChanged | Wake
