"""Counts the tokens of a prompt: by the model server, or else by an estimate."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from ...actors.core.anthropic.token_estimate import estimate
from ...actors.core.model.model_names import model_name
from ...actors.core.routing.model_holders import best_first, holders
from ..wire import Json
from .queue_protocol import DropinQueue

_PATH = "/messages/count_tokens"  # llama.cpp and vLLM have it; Ollama counts nothing


class Counted(msgspec.Struct):
    """The answer of a model server that counts."""

    input_tokens: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


_COUNTED = msgspec.json.Decoder(Counted)


def count_tokens(queue: DropinQueue, model: str, body: Json, payload: Mapping[str, Any]) -> int:
    """The tokens of a request to Anthropic's API, which is `payload` as a task."""
    having = holders(queue.list_backends(), model)
    able = [each for each in having if each.type != "ollama" and each.healthy]
    for backend in best_first(able, model)[:1]:
        wanted = model_name(model)
        spelled = (name for name in backend.models or () if model_name(name) == wanted)
        asked = {**body, "model": next(spelled, model)}
        reply = queue.call_backends([backend.name], _PATH, asked)[backend.name]
        if isinstance(reply, bytes):
            try:
                return max(1, _COUNTED.decode(reply).input_tokens)
            except msgspec.DecodeError:
                break
    return estimate(payload)
