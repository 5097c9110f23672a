"""To a Worker: its orders, and messages of its own call."""

from msgspec import Struct

from ..model.orders import Run, Stop
from ..model.outcomes import Outcome
from .wake import Wake


class CallEnded(Struct, frozen=True):
    """The call has returned; with `error` (and no outcome) if the executor crashed."""

    outcome: Outcome | None
    error: str = ""


ToWorker = Run | Stop | CallEnded | Wake
