"""Has an Ollama server load or unload a model: Ollama has no route for it but an empty request."""

import re
from typing import Any

from .core.model.outcomes import BackendReply, Failed
from .executors import Executor

FOR_EVER = -1  # as `keep_alive`
LOADING_S = 300.0  # as long as Ollama waits for a model to load
_NO_TEXT = re.compile(r"does not support (generate|completion)", re.IGNORECASE)


def load_model(
    executor: Executor, model: str, keep_alive: str | float | None, limit_s: float = LOADING_S
) -> BackendReply:
    """Load a model for `keep_alive` (as Ollama writes it; None: Ollama's default), or unload it
    with 0. A model that only embeds refuses a prompt, even an empty one."""
    body: dict[str, Any] = {"model": model, "stream": False}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    reply = executor.request("/api/generate", body, limit_s)
    if isinstance(reply, Failed) and _NO_TEXT.search(reply.error):
        del body["stream"]
        reply = executor.request("/api/embed", {**body, "input": ""}, limit_s)
    return reply
