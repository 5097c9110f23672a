"""What a worker runs: one executor per kind of model server."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..base.cooperation import YieldControl, never_yield
from ..core.config.config import Backend
from ..core.model.outcomes import BackendReply, Outcome, ProbeResult
from ..core.model.tasks import Spec, TaskType


class Executor(Protocol):
    """One warm connection to one model server, used for one call at a time.

    `begin`, then `run` in the thread that owns the call; `abort` from any thread at any moment
    after `begin` makes that `run` return `Stopped` (or a timeout's `Failed`) within moments.
    """

    def begin(self) -> None:
        """Forget an earlier abort: a new call is about to run."""

    def run(
        self,
        kind: TaskType,
        model: str,
        spec: Spec,
        on_chunk: Callable[[Any], None],
        without: frozenset[str] = frozenset(),
    ) -> Outcome:
        """Make the call. Never raises for what the server or the network does.

        `on_chunk` gets each piece of a chat or generate reply as it comes: a dict in the shape of
        a line of Ollama's stream, the last one (`done: true`) included; in OpenAI's dialect, in
        that of an event of its stream. `without` names what the server is known to refuse of what
        we add to requests, and is not asked.
        """

    def abort(self, failure: str | None = None) -> None:
        """End the running call. With `failure` it ends as a retryable `Failed(failure)`."""

    def probe(self) -> ProbeResult:
        """Ask the server, within 5 s, how it is and which models it has.

        Never raises for what the server or the network does; a running call is not disturbed.
        """

    def request(self, path: str, body: Mapping[str, Any] | None, limit_s: float) -> BackendReply:
        """Make a call that is no task, within `limit_s` seconds: a POST of `body`, or a GET.

        Never raises for what the server or the network does; a running call is not disturbed.
        """

    def close(self) -> None:
        """Close the connection."""


def create_executor(
    backend: Backend, silence_s: float, yield_control: YieldControl = never_yield
) -> Executor:
    """The executor for `backend`; a call is given up after `silence_s` seconds without a byte.

    It gives way with `yield_control` while it reads what a server sends.
    """
    from .ollama import OllamaExecutor
    from .openai import OpenAIExecutor

    kinds: dict[str, Callable[[Backend, float, YieldControl], Executor]] = {
        "ollama": OllamaExecutor,
        "openai": OpenAIExecutor,
    }
    return kinds[backend.type](backend, silence_s, yield_control)
