"""To the Prober: which backend is out, and what a probe found."""

from msgspec import Struct

from ollama_queue.actors.core.messages.wake import Wake
from ollama_queue.actors.core.orders import Watch


class Probed(Struct, frozen=True):
    """A probe has ended; `error` is None when the backend is well."""

    error: str | None


ToProber = Watch | Probed | Wake
