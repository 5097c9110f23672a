"""Ollama's API: requests become tasks, and replies have Ollama's format."""

from contextlib import suppress
from typing import Any

import msgspec

from ...actors.core.intake.submission import new_task
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import QueueError
from ...actors.core.model.tasks import NewTask, Priority, Task, TaskType
from .. import wire
from ..requests import reading
from ..requests.exchange import Routes
from ..wire import Json
from . import models
from .queue_protocol import DropinQueue
from .queued_call import QueuedCall, wishes

# The field without which a request only loads its model.
_ASKED = {
    wire.CHAT: "messages",
    wire.GENERATE: "prompt",
    wire.EMBED: "input",
    wire.EMBEDDINGS: "prompt",
}
_KINDS = {
    wire.CHAT: TaskType.CHAT,
    wire.GENERATE: TaskType.GENERATE,
    wire.EMBED: TaskType.EMBED,
    wire.EMBEDDINGS: TaskType.EMBED,
}


def add_ollama_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def replying(path: str) -> Any:
        body = reading.json_object(max_body)
        if not body.get(_ASKED[path]):
            return models.load(queue, path, body)
        streams = _KINDS[path] is not TaskType.EMBED and reading.streams(body, default=True)
        queued = QueuedCall(queue, _task(path, body), OllamaStreamFormat())
        if streams:
            return queued.streamed()
        reply = queued.raw()
        return _embedding(reply) if path == wire.EMBEDDINGS else reply

    for path in _KINDS:
        app.post(path, callback=lambda path=path: replying(path), role=Role.USER, anywhere=True)
    app.get(wire.TAGS, callback=lambda: models.tags(queue), role=Role.READER)
    app.get(wire.PS, callback=lambda: models.loaded(queue), role=Role.READER)
    app.get(wire.VERSION, callback=lambda: models.version(queue), role=Role.READER)
    app.post(
        wire.SHOW,
        callback=lambda: models.show(queue, reading.json_object(max_body)),
        role=Role.READER,
    )


def encode_error(error: QueueError) -> bytes:
    return wire.encode({"error": error.message})


class _Vectors(msgspec.Struct):
    embeddings: list[msgspec.Raw]


_VECTORS = msgspec.json.Decoder(_Vectors)


def _embedding(reply: msgspec.Raw) -> Json:
    """Convert a reply of `/api/embed` with one vector to the form of `/api/embeddings`."""
    with suppress(msgspec.DecodeError):
        for vector in _VECTORS.decode(reply).embeddings:
            return {"embedding": vector}
    raise wire.TaskFailed("the model server sent no embedding", 502)


class OllamaStreamFormat:
    """Ollama's stream format: one JSON value a line. Blank lines would break some clients."""

    media = wire.NDJSON
    silence_s = None
    end = b""

    def piece(self, raw: bytes) -> bytes:
        return raw + b"\n"

    def is_last(self, raw: bytes) -> bool:
        return b'"done":true' in raw and msgspec.json.decode(raw).get("done") is True

    def waiting(self, task: Task | None) -> bytes:
        return b""

    def failed(self, error: QueueError) -> bytes:
        return encode_error(error) + b"\n"


def _task(path: str, body: Json) -> NewTask:
    """The task for a request. Raises `Invalid`, naming the field."""
    kind = _KINDS[path]
    payload = {name: value for name, value in body.items() if value is not None}
    for beside in ("model", "stream"):  # not part of the payload
        payload.pop(beside, None)
    options = payload.pop("options", {})
    if path == wire.EMBEDDINGS:
        payload["input"] = payload.pop("prompt")
    fields = {"type": kind, "model": models.model_in(body), "payload": payload, "options": options}
    return new_task({**fields, **wishes(Priority.HIGH)})
