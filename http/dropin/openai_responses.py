"""OpenAI's responses: tasks that a client waits for, or that run in the background."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from ...actors.base.cooperation import cooperatively
from ...actors.core.intake.submission import new_task
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import (
    Conflict,
    Invalid,
    NotFound,
    QueueError,
    Unavailable,
)
from ...actors.core.model.tasks import Dialect, NewTask, Piece, Priority, Status, Task, TaskType
from ...actors.core.responses.items import listed
from ...actors.core.responses.numbering import NumberedEvents
from ...actors.core.responses.response import ResponseView, response_of, task_id_of
from ...actors.embedded.watch import PieceStream, StreamItem
from .. import sse, wire
from ..requests import reading
from ..requests.exchange import Routes, current
from ..requests.streaming import EventStream, together
from ..wire import Json
from . import models, openai
from .openai_files import page_of
from .queue_protocol import DropinQueue
from .queued_call import TASK_ID, QueuedCall, time_limit, wishes

MOST_ITEMS, ITEMS = 100, 20  # of a request's input in a page: at most, and by default


def add_response_routes(app: Routes, queue: DropinQueue, max_body: int) -> None:
    """Add the routes; `max_body` limits a request body in bytes."""

    def create() -> Any:
        body = reading.json_object(max_body)
        streams, new = reading.streams(body, default=False), _task(body)
        if new.payload.get("background"):
            return _in_background(queue, new, streams)
        events = ResponseStreamFormat(queue, new)
        call = QueuedCall(queue, new, events)
        events.call = call
        return call.streamed() if streams else response_of(call.completed())

    def get(response_id: str) -> Any:
        task = _find(queue, response_id)
        query = current().parameters()
        if not _flag(query, "stream"):
            return response_of(task)
        after = reading.whole(query, "starting_after", 0) if "starting_after" in query else None
        return _followed(queue, task, after)

    def input_items(response_id: str) -> Json:
        task = _find(queue, response_id)
        return _page(list(listed((task.payload or {})["input"], response_id)))

    def cancel(response_id: str) -> Json:
        task = _find(queue, response_id)
        with suppress(Conflict):  # it has ended: it stays as it is
            queue.cancel_task(task.id)
        return response_of(queue.get_task(task.id))

    def delete(response_id: str) -> Json:
        task = _find(queue, response_id)
        with suppress(Conflict):
            queue.cancel_task(task.id)
        queue.delete_task(task.id)
        return {"id": response_id, "object": "response", "deleted": True}

    one = f"{wire.RESPONSES}/<response_id>"
    app.post(wire.RESPONSES, callback=create, role=Role.USER, anywhere=True)
    app.get(one, callback=get, role=Role.READER, anywhere=True)
    app.route(one, "DELETE", delete, role=Role.USER)
    app.post(f"{one}/cancel", callback=cancel, role=Role.USER)
    app.get(f"{one}/input_items", callback=input_items, role=Role.READER, anywhere=True)


class ResponseStreamFormat:
    """The events of a response whose client waits for it. Set `call` before the first piece.

    They are numbered as those of a first attempt: if a later one succeeds, nothing was sent of
    those before it.
    """

    call: QueuedCall
    media = "text/event-stream"
    silence_s = sse.HEARTBEAT_S

    def __init__(self, queue: DropinQueue, new: NewTask) -> None:
        self._queue, self._new = queue, new
        self._numbers: NumberedEvents | None = None

    def piece(self, raw: bytes) -> bytes:
        numbers, start = self._begun(is_queued=False)
        return start + encoded(numbers.take(1, numbers.next_chunk, msgspec.json.decode(raw)))

    def is_last(self, raw: bytes) -> bool:
        return False

    def waiting(self, task: Task | None) -> bytes:
        is_pending = task is None or task.status is Status.PENDING
        numbers, start = self._begun(is_queued=is_pending)
        return start + (b"" if is_pending else encoded(numbers.running(1))) + openai.waiting(task)

    @property
    def end(self) -> bytes:
        numbers, start = self._begun(is_queued=False)
        return start + encoded(numbers.end(1, 0, self._queue.get_task(self.call.task_id)))

    def failed(self, error: QueueError) -> bytes:
        numbers, start = self._begun(is_queued=False)
        upstream = error.upstream if isinstance(error, wire.TaskFailed) else None
        code = upstream.code if upstream and isinstance(upstream.code, str) else error.code
        return start + encoded(numbers.failed({"code": code, "message": error.message}))

    def _begun(self, is_queued: bool) -> tuple[NumberedEvents, bytes]:
        """The events, and how their stream starts if this is the start."""
        if self._numbers is not None:
            return self._numbers, b""
        model = self._new.model if is_queued else self.call.model_used
        view = ResponseView(self.call.task_id, model, self._new.payload)
        self._numbers = NumberedEvents(view, None, is_queued=is_queued)
        return self._numbers, encoded(self._numbers.opening())


def _task(body: Json) -> NewTask:
    """The task for a request. Raises `Invalid`, naming the field."""
    payload = {name: value for name, value in body.items() if name not in ("model", "stream")}
    is_background = payload.get("background") is True
    level = openai.level_of(body, Priority.NORMAL if is_background else Priority.HIGH)
    fields = {"type": TaskType.CHAT, "dialect": Dialect.RESPONSES, "payload": payload}
    return new_task({**fields, "model": models.model_in(body), **wishes(level)})


def _in_background(queue: DropinQueue, new: NewTask, streams: bool) -> Any:
    """Submit a task that nobody needs to wait for: it runs even if its client is already gone."""
    key = reading.header("Idempotency-Key")
    submitted = queue.submit_listed(new, idempotency_key=key, expires_in=time_limit())
    current().set_header(TASK_ID, submitted.task_id)
    if streams or not submitted.created:
        task = queue.get_task(submitted.task_id)
        return _followed(queue, task, None) if streams else response_of(task)
    return ResponseView(submitted.task_id, new.model, new.payload).waiting()


def _find(queue: DropinQueue, response_id: str) -> Task:
    """The complete task of a response. Raises `NotFound`."""
    task_id = task_id_of(response_id)
    task = None
    if task_id is not None:
        with suppress(NotFound):
            task = queue.get_task(task_id)
    if task is None or task.dialect is not Dialect.RESPONSES:
        raise NotFound(f"there is no response {response_id}", field="response_id")
    return task


def _followed(queue: DropinQueue, task: Task, after: int | None) -> EventStream:
    """Stream the events of a response after number `after`, from a new attempt where it must."""
    view = ResponseView(task.id, task.model_used or task.model, task.payload or {})
    is_queued = view.is_background or _has_waited(task)
    numbers = NumberedEvents(view, after, is_queued=is_queued)
    stream = queue.follow_task(task.id, after=numbers.position, heartbeat=sse.HEARTBEAT_S)
    stream.begin()
    return EventStream(_frames(queue, task.id, stream, numbers), stream.close)


def _has_waited(task: Task) -> bool:
    """Whether the stream of the client that waited for this task told it that it was queued."""
    started_at = task.attempts[0].started_at if task.attempts else task.started_at
    return started_at is None or (started_at - task.created_at).total_seconds() >= sse.HEARTBEAT_S


def _frames(
    queue: DropinQueue, task_id: str, stream: PieceStream, numbers: NumberedEvents
) -> Iterator[bytes]:
    yield from together([encoded(numbers.opening())])
    try:
        for deliveries in stream:
            if deliveries:
                items = cooperatively(deliveries, queue.yield_control)
                yield from together(_encoded(queue, task_id, item, numbers) for item in items)
                continue
            yield _heartbeat(queue, task_id, numbers)
    except NotFound:
        yield encoded(numbers.failed({"code": "not_found", "message": "it was deleted"}))
    except QueueError as error:  # the client comes back with the last number it has seen
        yield f": {error.message}\n\n".encode()


def _heartbeat(queue: DropinQueue, task_id: str, numbers: NumberedEvents) -> bytes:
    task = None
    with suppress(Unavailable):  # the actors are restarting: keep waiting
        task = queue.get_task(task_id)
    if task is None or task.status is not Status.RUNNING:
        return openai.waiting(task)
    return encoded(numbers.running(task.attempt)) + openai.waiting(task)


def _encoded(queue: DropinQueue, task_id: str, item: StreamItem, numbers: NumberedEvents) -> bytes:
    if isinstance(item, Piece):
        return encoded(numbers.take(item.attempt, item.number, msgspec.json.decode(item.raw)))
    if not item.done:
        return b""  # the numbers of a new attempt say that it is one
    attempt, number = map(int, item.id.split("."))
    return encoded(numbers.end(attempt, number, queue.get_task(task_id)))


def encoded(events: Iterable[Json]) -> bytes:
    """Encode events as they are sent: without ids, since their numbers are in them."""
    return b"".join(sse.frame(event["type"], event) for event in events)


def _page(items: list[Json]) -> Json:
    """The page of `items` that the query asks for, the newest first unless it says otherwise."""
    query = current().parameters()
    limit = reading.page_limit(query, ITEMS, MOST_ITEMS)
    order = query.get("order", ["desc"])[-1]
    if order not in ("asc", "desc"):
        raise Invalid("order must be asc or desc", field="order")
    ordered = items if order == "asc" else items[::-1]
    if after := query.get("after"):
        ids = [item["id"] for item in ordered]
        if after[-1] not in ids:
            raise Invalid("after must be the id of an input item", field="after")
        ordered = ordered[ids.index(after[-1]) + 1 :]
    return page_of(ordered[:limit], len(ordered) > limit)


def _flag(query: dict[str, list[str]], name: str) -> bool:
    value = query.get(name, ["false"])[-1].lower()
    if value not in ("true", "false"):
        raise Invalid(f"{name} must be true or false", field=name)
    return value == "true"
