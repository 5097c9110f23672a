"""Anthropic's API: requests become chat tasks, and their replies have Anthropic's format."""

from typing import Any

import msgspec

from ...actors.base.cooperation import run_steps
from ...actors.core.anthropic.errors import error_body
from ...actors.core.anthropic.events import PING, MessageEvents
from ...actors.core.anthropic.replies import message_of, request_id
from ...actors.core.anthropic.requests import prompt_of, task_fields, tenant_of
from ...actors.core.intake.submission import new_task
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import QueueError
from ...actors.core.model.tasks import NewTask, Priority, Task
from .. import sse, wire
from ..requests import reading
from ..requests.exchange import Routes
from ..wire import Json
from . import models
from .client_headers import advise, name_request
from .queue_protocol import DropinQueue
from .queued_call import QueuedCall, wishes
from .token_count import count_tokens


def add_anthropic_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def message() -> Any:
        body = reading.json_object(max_body)
        streams, new = reading.streams(body, default=False), _task(body)
        events = AnthropicStreamFormat(new)
        queued = QueuedCall(queue, new, events)
        events.call = queued
        if streams:
            return queued.streamed()
        task = queued.completed()
        return message_of(task.id, task.model_used or new.model, new.payload, task.result)

    def count() -> Json:
        body = reading.json_object(max_body)
        model = models.model_in(body)
        payload = run_steps(prompt_of(body), reading.current_yield_control())
        return {"input_tokens": count_tokens(queue, model, body, payload)}

    app.post(wire.MESSAGES, callback=message, role=Role.USER, anywhere=True)
    app.post(f"{wire.MESSAGES}/count_tokens", callback=count, role=Role.USER)


class AnthropicStreamFormat:
    """Anthropic's stream format: named server-sent events, and pings while the task waits.

    Set `call` before the first piece.
    """

    call: QueuedCall
    media = "text/event-stream"
    silence_s = sse.HEARTBEAT_S
    end = b""

    def __init__(self, new: NewTask) -> None:
        self._new = new
        self._events: MessageEvents | None = None

    def piece(self, raw: bytes) -> bytes:
        if self._events is None:
            call = self.call
            self._events = MessageEvents(call.task_id, call.model_used, self._new.payload)
        return b"".join(map(_event, self._events.take(msgspec.json.decode(raw))))

    def is_last(self, raw: bytes) -> bool:
        return b'"done":true' in raw and msgspec.json.decode(raw).get("done") is True

    def waiting(self, task: Task | None) -> bytes:
        return _event(PING)

    def failed(self, error: QueueError) -> bytes:
        name = request_id(self.call.task_id)
        return _event(error_body(wire.status_of(error), error.message, name))


def encode_error(error: QueueError) -> bytes:
    """Encode `error`, and set the headers that tell clients whether to retry and what failed."""
    advise(error)
    return encode_failure(wire.status_of(error), error.message)


def encode_failure(status: int, message: str) -> bytes:
    """Encode an error in Anthropic's format, and name the request in a header too."""
    return wire.encode(error_body(status, message, name_request()))


def _event(event: Json) -> bytes:
    return sse.frame(event["type"], event)


def _task(body: Json) -> NewTask:
    """The task for a request. Raises `Invalid`, naming the field."""
    model = models.model_in(body)
    fields = run_steps(task_fields(body), reading.current_yield_control())
    asked = wishes(Priority.HIGH)
    tenant = asked["tenant"] or tenant_of(body)
    return new_task({**fields, "model": model, **asked, "tenant": tenant})
