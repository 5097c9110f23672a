"""Ollama's own API: what its clients send becomes tasks, and what they hear is in its words."""

from typing import Any

import bottle

from ollama_queue.actors.core.errors import Forbidden, Invalid, QueueError
from ollama_queue.actors.core.records import NewTask, Priority, TaskType
from ollama_queue.actors.core.submission import new_task
from ollama_queue.http import models, reading, wire
from ollama_queue.http.queued import Queued, wishes
from ollama_queue.http.servers import Servers

Json = dict[str, Any]

# What a request must have to be more than a wish to have its model in memory.
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
_ADMIN = (
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", f"{wire.BLOBS}<digest>"),
    ("HEAD", f"{wire.BLOBS}<digest>"),
)


def add_ollama_routes(app: bottle.Bottle, queue: Servers, max_body: int) -> None:
    """`max_body` (bytes) limits a request's body."""

    def replying(path: str) -> Any:
        body = _body(max_body)
        if not body.get(_ASKED[path]):
            return models.load(queue, path, body)
        streams = _KINDS[path] is not TaskType.EMBED and _streams(body)
        queued = Queued(queue, _task(path, body))
        if streams:
            return queued.streamed(_failed_line)
        reply = queued.whole()
        return _embedding(reply) if path == wire.EMBEDDINGS else reply

    def refuse(**_: str) -> None:
        raise Forbidden("the queue does not pass this on: ask the model server itself")

    for path in _KINDS:
        app.post(path, callback=lambda path=path: replying(path))
    app.get(wire.TAGS, callback=lambda: models.tags(queue))
    app.get(wire.PS, callback=lambda: models.loaded(queue))
    app.get(wire.VERSION, callback=lambda: models.version(queue))
    app.post(wire.SHOW, callback=lambda: models.show(queue, _body(max_body)))
    for method, path in _ADMIN:
        app.route(path, method=method, callback=refuse)


def encode_error(error: QueueError) -> bytes:
    return wire.encode({"error": error.message})


def _embedding(reply: Any) -> Json:
    """The one vector of a reply to `/api/embed`, as the older route has it."""
    vectors = reply.get("embeddings") if isinstance(reply, dict) else None
    if not vectors or not isinstance(vectors, list):
        raise wire.TaskFailed("the model server sent no embedding", wire.passed_on(None))
    return {"embedding": vectors[0]}


def _failed_line(words: str) -> bytes:
    return wire.encode({"error": words}) + b"\n"


def _body(limit: int) -> Json:
    body = reading.body(limit)
    if not isinstance(body, dict):
        raise Invalid("the body must be a JSON object", field="body")
    return body


def _streams(body: Json) -> bool:
    """As Ollama: unless it is told not to."""
    given = body.get("stream")
    if given is not None and not isinstance(given, bool):
        raise Invalid("stream must be true or false", field="stream")
    return given is not False


def _task(path: str, body: Json) -> NewTask:
    """The task that a request asks for. Raises `Invalid`, naming the field."""
    kind = _KINDS[path]
    payload = {name: value for name, value in body.items() if value is not None}
    for beside in ("model", "stream"):  # how it is told makes no other task of it
        payload.pop(beside, None)
    options = payload.pop("options", {})
    if path == wire.EMBEDDINGS:
        payload["input"] = payload.pop("prompt")
    asked = {"type": kind, "model": models.model_in(body), "payload": payload, "options": options}
    return new_task({**asked, **wishes(Priority.HIGH)})
