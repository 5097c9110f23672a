"""To the Prober: which backend to look at soon, and what a look found."""

from msgspec import Struct

from ollama_queue.actors.core.messages.wake import Wake
from ollama_queue.actors.core.orders import Watch
from ollama_queue.actors.core.outcomes import Look


class Probed(Struct, frozen=True):
    """A look at a backend has ended."""

    backend: str
    look: Look


ToProber = Watch | Probed | Wake
