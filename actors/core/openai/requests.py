"""Requests of OpenAI's API as tasks in its dialect."""

from collections.abc import Mapping
from typing import Any

from ..model.tasks import Dialect, TaskType

ENDPOINTS = {
    "/v1/chat/completions": TaskType.CHAT,
    "/v1/completions": TaskType.GENERATE,
    "/v1/embeddings": TaskType.EMBED,
}


def task_fields(kind: TaskType, body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the task for a request, without those that say how it is queued.

    `stream` and `include_usage` are not the task's: the queue always streams, and counts.
    """
    payload = dict(body)
    model = {name: payload.pop(name) for name in ("model",) if name in payload}
    payload.pop("stream", None)
    options = payload.pop("stream_options", None)
    if isinstance(options, Mapping):
        options = {name: value for name, value in options.items() if name != "include_usage"}
    if options:
        payload["stream_options"] = options
    return {"type": kind, "dialect": Dialect.OPENAI, **model, "payload": payload}
