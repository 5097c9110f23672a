"""The routes that load and unload models."""

from typing import Any

from ...actors.core.model.errors import Invalid, choose_from
from .. import routes
from ..requests import reading
from .answers import Handlers
from .feed import LocalQueue


def backend_handlers(queue: LocalQueue, max_body: int) -> Handlers:
    def load(name: str) -> Any:
        body = _body(max_body, "model", "keep_alive")
        return queue.load_model(name, body["model"], keep_alive=body.get("keep_alive"))

    def unload(name: str) -> Any:
        return queue.unload_model(name, _body(max_body, "model")["model"])

    return {routes.LOAD_MODEL: load, routes.UNLOAD_MODEL: unload}


def _body(max_body: int, *known: str) -> dict[str, Any]:
    """The request's JSON object, which has a model. Raises `Invalid`, naming an unknown field."""
    body = reading.json_object(max_body)
    for name in body:
        if name not in known:
            raise Invalid(f"{name[:64]} is not a field: {choose_from(known)}", field=name)
    if "model" not in body:
        raise Invalid("model is required: name a model, such as qwen3", field="model")
    return body
