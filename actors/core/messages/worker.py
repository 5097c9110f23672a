"""To a Worker: its orders, and what its own call has to say."""

from msgspec import Struct

from ..model.orders import Run, Stop
from ..model.outcomes import Outcome
from .wake import Wake


class ChunksReady(Struct, frozen=True):
    """The call has pieces to hand on, or the event bus has taken the last ones."""


class CallEnded(Struct, frozen=True):
    """The call has come back; with `error` (and no outcome) because the executor broke."""

    outcome: Outcome | None
    error: str = ""


ToWorker = Run | Stop | ChunksReady | CallEnded | Wake
