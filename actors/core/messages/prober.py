"""To the Prober: which backends to look at or to speak to, and what came of it."""

from typing import Any

from msgspec import Struct

from ..model.orders import Watch
from ..model.outcomes import Look, Reply
from .wake import Wake


class Probed(Struct, frozen=True):
    """A look at a backend has ended."""

    backend: str
    look: Look


class Survey(Struct, frozen=True):
    """Look at all backends now. Reply: True, once the scheduler has been told of each."""


class Consult(Struct, frozen=True):
    """Make a short call to each of these backends, which is no task. Reply: `{backend: Reply}`.

    Without a `body` it is a GET. `limit_s` is for all of a call; one with `loads` may change which
    models are in memory.
    """

    backends: tuple[str, ...]
    path: str
    body: dict[str, Any] | None = None
    limit_s: float = 5.0
    loads: bool = False


class Consulted(Struct, frozen=True):
    """A backend has answered, or has not: the call was for the `number`-th `Consult`."""

    number: int
    backend: str
    loads: bool
    reply: Reply


ToProber = Watch | Probed | Survey | Consult | Consulted | Wake
