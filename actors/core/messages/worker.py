"""To a Worker: its orders, and messages of its own call."""

from msgspec import Struct

from ..model.orders import Run, Stop
from .replies import CallSpec
from .wake import Wake


class StartCall(Struct, frozen=True):
    """Make this call. `spec` is None if the task is not stored (any more)."""

    run: Run
    spec: CallSpec | None


class CallCrashed(Struct, frozen=True):
    """The executor has raised this error; how a call ends is told to the scheduler."""

    error: str


ToWorker = StartCall | Stop | CallCrashed | Wake
