"""OpenAI's API: requests become tasks in OpenAI's dialect, forwarded unchanged."""

from typing import Any

import msgspec

from ...actors.core.intake.submission import new_task
from ...actors.core.model import limits
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Invalid, QueueError
from ...actors.core.model.tasks import NewTask, Priority, Status, Task, TaskType
from ...actors.core.openai.chunks import as_piece, is_count
from ...actors.core.openai.requests import ENDPOINTS, task_fields
from .. import sse, wire
from ..requests import reading
from ..requests.exchange import Routes
from ..wire import Json
from . import model_list, models
from .client_headers import advise, name_request
from .queue_protocol import DropinQueue
from .queued_call import QueuedCall, wishes

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])  # of a reply with millions of numbers
# Other tiers mean the default priority here; the model server interprets them.
_TIERS = {
    "priority": Priority.CRITICAL,
    "fast": Priority.CRITICAL,
    "flex": Priority.LOW,
}


def add_openai_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def replying(path: str) -> Any:
        body = reading.json_object(max_body)
        has_vectors = ENDPOINTS[path] is TaskType.EMBED
        events = OpenAIStreamFormat(_tier(body), _wants_usage(body))
        queued = QueuedCall(queue, _task(ENDPOINTS[path], body), events)
        if has_vectors:
            return events.tiered(_FIELDS.decode(queued.raw()))
        if reading.streams(body, default=False):
            return queued.streamed()
        return events.tiered(queued.whole())

    for path in ENDPOINTS:
        app.post(path, callback=lambda path=path: replying(path), role=Role.USER, anywhere=True)
    app.get(wire.MODELS, callback=lambda: model_list.every(queue), role=Role.READER)
    app.get(
        f"{wire.MODELS}/<model:path>",
        callback=lambda model: model_list.one(queue, model),
        role=Role.READER,
    )


class OpenAIStreamFormat:
    """OpenAI's stream format: server-sent events, and comments while the task waits.

    `tier` is the requested service tier, `counts` whether to report token usage.
    """

    media = "text/event-stream"
    silence_s = sse.HEARTBEAT_S
    end = b"data: [DONE]\n\n"

    def __init__(self, tier: str | None, counts: bool) -> None:
        self._tier, self._counts = tier, counts

    def piece(self, raw: bytes) -> bytes:
        if b'"message":' in raw or (not self._counts and b'"usage":{' in raw):
            piece = as_piece(msgspec.json.decode(raw))
            if not self._counts and piece.get("usage"):
                if is_count(piece):
                    return b""
                piece = {name: value for name, value in piece.items() if name != "usage"}
            raw = wire.encode(piece)
        return b"data: %s\n\n" % self._raw_tiered(raw)

    def is_last(self, raw: bytes) -> bool:
        return b'"usage":{' in raw and is_count(msgspec.json.decode(raw))

    def waiting(self, task: Task | None) -> bytes:
        return waiting(task)

    def failed(self, error: QueueError) -> bytes:
        return _event(_body_of(error))

    def tiered(self, reply: Json) -> Json:
        """Add the requested service tier to a reply that names none."""
        return reply if self._tier is None else {"service_tier": self._tier, **reply}

    def _raw_tiered(self, raw: bytes) -> bytes:
        if self._tier is None:
            return raw
        if b"service_tier" in raw or not raw.startswith(b'{"'):
            return wire.encode(self.tiered(msgspec.json.decode(raw)))
        return b'{"service_tier":%s,%s' % (wire.encode(self._tier), raw[1:])


def waiting(task: Task | None) -> bytes:
    """A comment for a client that waits, with the task's place in the queue if known."""
    if task is None or task.status is not Status.PENDING:
        return sse.SILENCE
    position = "" if task.position is None else f" position={task.position}"
    eta = "" if task.eta_s is None else f" eta={task.eta_s:.0f}"
    return f": queued{position}{eta}\n\n".encode()


def encode_error(error: QueueError) -> bytes:
    """Encode `error`, and set the headers that tell clients whether to retry and what failed."""
    advise(error)
    name_request()
    return wire.encode(_body_of(error))


def error_body(status: int, message: str, code: str, param: str | None = None) -> Json:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if status < 500 else "api_error"
    if status == 429:
        kind = "rate_limit_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _body_of(error: QueueError) -> Json:
    status, code = wire.status_of(error), error.code
    if status == 404 and error.field in (None, "model"):
        code = "model_not_found"
    body = error_body(status, error.message, code, error.field)
    if isinstance(error, wire.TaskFailed) and error.upstream:
        fields = msgspec.structs.asdict(error.upstream)
        body["error"] |= {name: value for name, value in fields.items() if value is not None}
    return body


def _event(data: Json) -> bytes:
    return b"data: %s\n\n" % wire.encode(data)


def level_of(body: Json, default: Priority) -> Priority:
    """The priority that a request's service tier stands for. Raises `Invalid`."""
    return _TIERS.get(_tier(body) or "", default)


def _tier(body: Json) -> str | None:
    tier = body.get("service_tier")
    if tier is not None and not isinstance(tier, str):
        raise Invalid("service_tier must be a string, such as flex", field="service_tier")
    limits.check_text(tier or "", "service_tier")
    return "default" if tier == "auto" else tier


def _wants_usage(body: Json) -> bool:
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise Invalid("stream_options must be an object", field="stream_options")
    return (options or {}).get("include_usage") is True


def _task(kind: TaskType, body: Json) -> NewTask:
    """The task for a request. Raises `Invalid`, naming the field."""
    fields = task_fields(kind, body)
    level = level_of(body, Priority.HIGH)
    return new_task({**fields, "model": models.model_in(body), **wishes(level)})
