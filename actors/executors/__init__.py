"""Executors, which a worker calls models with: one per kind of model server."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

from ..base.cooperation import YieldControl, never_yield
from ..base.receiver import MakeReceiver, PlainReceiver
from ..core.activity.tracing import TraceContext
from ..core.config.config import Backend
from ..core.config.webhook_values import Network
from ..core.messages import DeliveryAnswered
from ..core.model.outcomes import BackendReply, Outcome, ProbeResult
from ..core.model.tasks import Spec, TaskType
from ..core.webhooks.message import WebhookRequest


class Executor(Protocol):
    """One warm connection to one model server, used for one call at a time.

    Call `begin`, then `run` in the thread that owns the call. `abort`, from any thread at any time
    after `begin`, makes that `run` return `Stopped` (or a timeout's `Failed`) within moments, or
    returns it itself.
    """

    def begin(self, is_followed: Callable[[], bool] = lambda: True) -> None:
        """Clear an earlier abort before a new call.

        While `is_followed` returns False, nobody waits for the pieces of a reply: those of half a
        second may be read together.
        """

    def trace(self, context: TraceContext) -> None:
        """Send this context with the requests of the next `run`."""

    def run(
        self,
        kind: TaskType,
        model: str,
        spec: Spec,
        on_chunk: Callable[[bytes], None],
        without: frozenset[str] = frozenset(),
    ) -> Outcome:
        """Make the call. Never raises for errors of the server or the network.

        `on_chunk` gets each piece of a chat or generate reply as it arrives: a JSON object on one
        line, in the shape of a line of Ollama's stream, including the last one (`done: true`), or,
        in OpenAI's dialect, of an event of its stream. It is the server's own text if that is
        plain, else written without spaces. `without` names fields that the queue adds to requests
        and the server is known to refuse; they are left out.
        """

    def abort(self, failure: str | None = None) -> Outcome | None:
        """End the running call. With `failure`, it ends as a retryable `Failed(failure)`.

        If what runs cannot be interrupted, this returns the outcome: then `run` returns at some
        time, its reply is of no use, and this executor makes no further call.
        """

    def probe(self) -> ProbeResult:
        """Ask the server for its health and its models, within 5 s.

        Never raises for errors of the server or the network; does not disturb a running call.
        """

    def request(self, path: str, body: Mapping[str, Any] | None, limit_s: float) -> BackendReply:
        """Make a call that is not a task, within `limit_s` seconds: a POST of `body`, or a GET.

        Never raises for errors of the server or the network; does not disturb a running call.
        """

    def close(self) -> None:
        """Close the connection."""


def create_executor(
    backend: Backend,
    silence_s: float,
    yield_control: YieldControl = never_yield,
    make_receiver: MakeReceiver = PlainReceiver,
) -> Executor:
    """Create the executor for `backend`. A call fails after `silence_s` seconds without a byte.

    It calls `yield_control` while it reads what a server sends, and waits for that with what
    `make_receiver` makes.
    """
    from .ollama import OllamaExecutor
    from .openai import OpenAIExecutor

    kinds: dict[str, Callable[[Backend, float, YieldControl, MakeReceiver], Executor]] = {
        "ollama": OllamaExecutor,
        "openai": OpenAIExecutor,
    }
    return kinds[backend.type](backend, silence_s, yield_control, make_receiver)


def create_webhook_caller(
    allowed: Iterable[Network],
) -> Callable[[WebhookRequest], DeliveryAnswered]:
    """Create what makes the requests of webhooks; those that clients name go to public addresses
    and to `allowed` networks. Its library is loaded with the first request."""

    @cache
    def caller() -> Callable[[WebhookRequest], DeliveryAnswered]:
        from .webhook_request import WebhookCaller

        return WebhookCaller(allowed)

    return lambda request: caller()(request)
