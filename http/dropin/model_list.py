"""The models of all servers at `/v1/models`, in OpenAI's form or, for its clients, Anthropic's."""

from collections.abc import Callable
from datetime import UTC, datetime

from ...actors.core.model.errors import unknown_model
from ...actors.core.model.model_names import model_name
from .. import wire
from ..pagination import page_of_ids
from ..requests.exchange import current
from ..wire import Json
from . import models
from .queue_protocol import DropinQueue


def every(queue: DropinQueue) -> Json:
    """All models, in one page: Anthropic's clients would ask for more."""
    form = _form()
    listed = [form(each) for each in models.tags(queue)["models"]]
    if form is _for_openai:
        return {"object": "list", "data": listed}
    return page_of_ids(listed, has_more=False)


def one(queue: DropinQueue, model: str) -> Json:
    """One model, under the name that the client gave it. Raises `NotFound`."""
    name = model_name(model)
    for each in models.tags(queue)["models"]:
        if model_name(each["name"]) == name:
            return {**_form()(each), "id": model}
    raise unknown_model(model)


def _form() -> Callable[[Json], Json]:
    """The form of an entry for the client of the current request."""
    return _for_anthropic if wire.is_anthropic_client(current().headers) else _for_openai


def _for_openai(model: Json) -> Json:
    name, created = model["name"], _created(model)
    return {"id": name, "object": "model", "created": created, "owned_by": "ollama-queue"}


def _for_anthropic(model: Json) -> Json:
    name, created = model["name"], datetime.fromtimestamp(_created(model), UTC)
    return {"id": name, "type": "model", "display_name": name, "created_at": created}


def _created(model: Json) -> int:
    """When an entry of Ollama's list was made, in seconds since 1970; 0 if unknown."""
    try:
        return max(0, int(datetime.fromisoformat(model["modified_at"]).timestamp()))
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0
