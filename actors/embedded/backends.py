"""The model servers of an embedded queue: their state, and calls to them that are not tasks."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..base.actor import ask
from ..base.cooperation import YieldControl
from ..core.config.config import Config
from ..core.intake import arguments
from ..core.messages import CallBackends, Describe, DrainBackend, LoadModel, ProbeAll
from ..core.model.errors import Conflict, NotFound, Unavailable, unknown_backend
from ..core.model.model_names import model_name
from ..core.model.outcomes import BackendReply, Failed
from ..core.model.stats import BackendState
from ..core.routing.model_holders import names_of
from ..model_loading import LOADING_S
from ..supervision.switchboard import Switchboard
from .auditing import Auditor

if TYPE_CHECKING:
    from .forwarded_call import ForwardedCall

SHORT_S = 5.0
MOST_LOOKS = 8  # at a server that is unloading a model, 0.25 s apart
MOST_FORWARDED = 64  # requests at once


class EmbeddedBackends:
    """`QueueManager`'s verbs for model servers. They raise `NotFound` for an unknown name."""

    def __init__(
        self,
        switchboard: Switchboard,
        auditor: Auditor,
        config: Config,
        yield_control: YieldControl,
    ) -> None:
        self._auditor = auditor
        self._switchboard, self._yield_control = switchboard, yield_control
        self._silence_s = config.ollama.timeout
        self._settings = {backend.name: backend for backend in config.all_backends}
        self._forwarded: set[ForwardedCall] = set()

    def all(self) -> list[BackendState]:
        return ask(self._switchboard.current().scheduler, Describe()).backends

    def types(self) -> dict[str, str]:
        return {name: backend.type for name, backend in self._settings.items()}

    def drain(self, name: str, value: bool) -> BackendState:
        name = arguments.backend(name)
        note = self._auditor.note("drain_backend" if value else "resume_backend", name)
        command = DrainBackend(name, value, audit=note)
        return ask(self._switchboard.current().scheduler, command)

    def probe(self, names: Collection[str] | None = None) -> None:
        """Probe these servers, or all, now. Returns once the plan has the results."""
        command = ProbeAll(None if names is None else tuple(names))
        ask(self._switchboard.current().prober, command)

    def call(
        self, names: Collection[str], path: str, body: Mapping[str, Any] | None
    ) -> dict[str, BackendReply]:
        """Send a GET of `path`, or a POST of `body`, to backends. Returns replies within 5 s."""
        command = CallBackends(tuple(names), path, None if body is None else dict(body), SHORT_S)
        return ask(self._switchboard.current().prober, command)

    def call_to_load(
        self, names: Collection[str], path: str, body: Mapping[str, Any]
    ) -> dict[str, BackendReply]:
        """Send backends a POST that loads or unloads a model. Returns replies within 5 min."""
        is_unload = str(body.get("keep_alive")) in ("0", "0s")
        action, model = "unload_model" if is_unload else "load_model", str(body.get("model", ""))
        self._auditor.record(action, ", ".join(names), model)
        command = CallBackends(tuple(names), path, dict(body), LOADING_S, loads=True)
        return ask(self._switchboard.current().prober, command, LOADING_S + SHORT_S)

    # --- models ---------------------------------------------------------------------------------

    def load(self, name: str, model: str, keep_alive: str | float | None) -> BackendState:
        """Load a model into a server's memory; returns the server's state."""
        name, model = arguments.backend(name), arguments.model(model)
        keep_alive = arguments.keep_alive(keep_alive)
        self._check_has(name, model)
        self._have_loaded(name, model, keep_alive, "load")
        self.probe([name])
        return self._state(name)

    def unload(self, name: str, model: str) -> BackendState:
        """Remove a model from a server's memory; returns the server's state."""
        name, model = arguments.backend(name), arguments.model(model)
        state = self._check_has(name, model)
        if model_name(model) in names_of(state.pinned):
            raise Conflict(
                f"models.{model}.keep has {name} keep this model in memory", field="model"
            )
        self._have_loaded(name, model, 0, "unload")
        for _ in range(MOST_LOOKS):  # the server unloads it after it has answered
            self.probe([name])
            state = self._state(name)
            if model_name(model) not in names_of(state.loaded):
                break
        return state

    def _have_loaded(
        self, name: str, model: str, keep_alive: str | float | None, verb: str
    ) -> None:
        self._auditor.record(f"{verb}_model", name, model)
        command = LoadModel(name, model, keep_alive)
        reply = ask(self._switchboard.current().prober, command, 2 * LOADING_S + SHORT_S)
        if isinstance(reply, Failed):
            words = reply.upstream.message if reply.upstream else reply.error
            if reply.status == 404:
                raise NotFound(f"{name} does not have model {model!r}: {words}", field="model")
            raise Conflict(f"{name} could not {verb} model {model!r}: {words}")

    def _state(self, name: str) -> BackendState:
        backends = self.all()
        for state in backends:
            if state.name == name:
                return state
        raise unknown_backend(name, (state.name for state in backends))

    def _check_has(self, name: str, model: str) -> BackendState:
        """The state of an Ollama server that has the model. Raises `NotFound`, or `Conflict` if it
        is another kind of server."""
        state = self._state(name)
        if state.type != "ollama":
            raise Conflict(
                f"{name} is of type {state.type}: only Ollama loads and unloads models on request",
                field="name",
            )
        if state.models is None or model_name(model) not in names_of(state.models):
            self.probe([name])
            state = self._state(name)
        if state.models is not None and model_name(model) not in names_of(state.models):
            raise NotFound(f"{name} does not have model {model!r}", field="model")
        return state

    # --- requests that are passed on ------------------------------------------------------------

    def forward(self, name: str, method: str, path: str) -> "ForwardedCall":
        """A request to an Ollama server, to be made by the caller's thread; end it with `dismiss`.

        Raises `Unavailable` if there are too many, or the queue is closed.
        """
        from .forwarded_call import ForwardedCall  # loads httpx

        self._switchboard.current()
        if len(self._forwarded) >= MOST_FORWARDED:
            raise Unavailable(
                f"{MOST_FORWARDED} requests are being passed on to model servers: try again later",
                retry_after_s=5,
            )
        backend = self._settings.get(name)
        if backend is None:
            raise NotFound(f"there is no backend {name}", field="name")
        if method not in ("GET", "HEAD"):
            self._auditor.record("change_models", name, f"{method} {path}")
        call = ForwardedCall(backend, method, path, self._silence_s, self._yield_control)
        self._forwarded.add(call)
        return call

    def dismiss(self, call: "ForwardedCall") -> None:
        """Close a call's connection."""
        self._forwarded.discard(call)
        call.close()

    def close(self) -> None:
        """End all requests that are being passed on."""
        for call in tuple(self._forwarded):
            call.abort()
