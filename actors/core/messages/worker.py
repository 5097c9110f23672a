"""To a Worker: its orders, and messages of its own call."""

from msgspec import Struct

from ..model.orders import Run, Stop
from ..model.outcomes import Outcome
from .replies import CallSpec
from .wake import Wake


class StartCall(Struct, frozen=True):
    """Make this call. `spec` is None if the task is not stored (any more)."""

    run: Run
    spec: CallSpec | None


class CallEnded(Struct, frozen=True):
    """The call has returned; with `error` (and no outcome) if the executor crashed."""

    outcome: Outcome | None
    error: str = ""


ToWorker = StartCall | Stop | CallEnded | Wake
