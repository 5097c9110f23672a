"""What the server's doors ask of model servers past the plan, for `QueueManager`."""

from collections.abc import Collection, Mapping
from typing import Any

from ..base.actor import ask
from ..core.messages import CallBackends, ProbeAll
from ..core.model.outcomes import Reply
from ..supervision.switchboard import Generation

SHORT_S = 5.0
LOADING_S = 300.0  # as long as Ollama itself waits for a model


class ServerVerbs:
    """Needs `_now`, which gives the actors of this boot."""

    def _now(self) -> Generation:
        raise NotImplementedError

    def probe_backends(self) -> None:
        """Look at all model servers now; returns once the plan knows what was found."""
        ask(self._now().prober, ProbeAll())

    def call_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Reply]:
        """What these servers answer to a GET of `path`, or to a POST of `body`, within 5 s."""
        asked = CallBackends(tuple(names), path, None if body is None else dict(body), SHORT_S)
        return ask(self._now().prober, asked)  # type: ignore[no-any-return]

    def load_on_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any]
    ) -> dict[str, Reply]:
        """The same of a POST that has them load or unload a model, within 5 minutes."""
        asked = CallBackends(tuple(names), path, dict(body), LOADING_S, loads=True)
        return ask(self._now().prober, asked, LOADING_S + SHORT_S)  # type: ignore[no-any-return]
