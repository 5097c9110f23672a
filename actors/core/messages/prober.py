"""To the Prober: which backends to probe or to call, and what came of it."""

from typing import Any

from msgspec import Struct

from ..model.orders import Probe
from ..model.outcomes import BackendReply, ProbeResult
from .command import Command
from .wake import Wake


class Probed(Struct, frozen=True):
    """The probe of a backend has ended."""

    backend: str
    result: ProbeResult


class ProbeAll(Command[bool], frozen=True):
    """Probe all backends now. Reply: True, once the scheduler has been told of each."""


class CallBackends(Command[dict[str, BackendReply]], frozen=True):
    """Make a short call to each of these backends, which is no task. Reply: by backend.

    Without a `body` it is a GET. `limit_s` is for all of a call; one with `loads` may change which
    models are in memory.
    """

    backends: tuple[str, ...]
    path: str
    body: dict[str, Any] | None = None
    limit_s: float = 5.0
    loads: bool = False


class BackendAnswered(Struct, frozen=True):
    """A backend has answered, or has not: the call was for the `number`-th `CallBackends`."""

    number: int
    backend: str
    loads: bool
    reply: BackendReply


ToProber = Probe | Probed | ProbeAll | CallBackends | BackendAnswered | Wake
