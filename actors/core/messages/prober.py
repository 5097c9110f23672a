"""To the Prober: which backends to probe or call, and the results."""

from typing import Any

from msgspec import Struct

from ..model.orders import KeepModel, Probe
from ..model.outcomes import BackendReply, ProbeResult
from .command import Command
from .wake import Wake


class Probed(Struct, frozen=True):
    """A probe of a backend has ended."""

    backend: str
    result: ProbeResult


class ProbeAll(Command[bool], frozen=True):
    """Probe these backends now, or all of them. Reply: True, once the scheduler has the results."""

    backends: tuple[str, ...] | None = None


class CallBackends(Command[dict[str, BackendReply]], frozen=True):
    """Make a short call that is not a task to each of these backends. Reply: by backend.

    Without a `body` it is a GET. `limit_s` limits each complete call; one with `loads` may change
    which models are loaded.
    """

    backends: tuple[str, ...]
    path: str
    body: dict[str, Any] | None = None
    limit_s: float = 5.0
    loads: bool = False


class LoadModel(Command[BackendReply], frozen=True):
    """Have an Ollama server load a model, or unload it with `keep_alive` 0. Reply: the server's."""

    backend: str
    model: str
    keep_alive: str | float | None = None


class BackendAnswered(Struct, frozen=True):
    """A backend has answered or failed; the call was part of the `number`-th fan-out."""

    number: int
    backend: str
    loads: bool
    reply: BackendReply


ToProber = Probe | Probed | ProbeAll | CallBackends | LoadModel | KeepModel | BackendAnswered | Wake
