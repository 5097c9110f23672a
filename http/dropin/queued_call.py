"""A request answered by a task, which is cancelled if the waiting client disconnects."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

from msgspec.structs import replace

from ...actors.core.intake.submission import parse_priority, parse_timeout
from ...actors.core.model import limits
from ...actors.core.model.errors import Invalid, QueueError, unknown_model
from ...actors.core.model.tasks import Chunk, NewTask, Status, Task
from ...actors.core.openai.translation import hints
from .. import wire
from ..requests import reading
from ..requests.exchange import current
from ..requests.streaming import StreamingResponse, on_disconnect
from .queue_protocol import DropinQueue

PRIORITY, TENANT, DETACH = "X-Queue-Priority", "X-Queue-Tenant", "X-Queue-Detach"
TIMEOUT = "X-Queue-Timeout"
TASK_ID, WAIT, BACKEND = "X-Queue-Task-Id", "X-Queue-Wait-Ms", "X-Queue-Backend"
IGNORED = "X-Queue-Ignored"
MAX_NAMES, MAX_NAME = 32, 64  # names in that header, and characters per name
CLIENT_GONE = 499
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def wishes(priority: int) -> dict[str, Any]:
    """The task fields that the request's headers set; `priority` is the default priority.

    Raises `Invalid`, naming the header.
    """
    raw_priority = reading.header(PRIORITY)
    try:
        level = priority if raw_priority is None else parse_priority(raw_priority)
    except Invalid as error:
        raise Invalid(f"{PRIORITY}: {error.message}", field=PRIORITY) from None
    tenant = reading.header(TENANT)
    limits.check_text(tenant or "", TENANT)
    return {"priority": level, "tenant": tenant, "timeout_s": _timeout_s()}


class StreamFormat(Protocol):
    """How an API writes a stream; `b""` where it writes nothing."""

    media: str
    silence_s: float  # after which `waiting` is sent
    end: bytes  # the end of a successful stream

    def piece(self, data: Any) -> bytes:
        """Encode a piece of the reply."""

    def is_last(self, data: Any) -> bool:
        """Whether this is the reply's last piece."""

    def waiting(self, task: Task | None) -> bytes:
        """A heartbeat, with the task's place in the queue if known."""

    def failed(self, error: QueueError) -> bytes:
        """Encode an error after the head of the answer has been sent."""


class QueuedCall:
    """Submits a task for the current request, and follows it.

    If the client disconnects, the task is cancelled, unless the client sent `X-Queue-Detach`, or
    its `Idempotency-Key` matched a task that another request had submitted.
    """

    def __init__(self, queue: DropinQueue, new: NewTask, form: StreamFormat) -> None:
        stays = _detached()
        key = reading.header("Idempotency-Key")
        submitted = queue.submit_listed(new, idempotency_key=key)
        self._queue, self._form, self.task_id = queue, form, submitted.task_id
        self._hints = hints(new)
        self._is_over = stays or not submitted.created  # not ours to cancel
        self._has_begun = False  # whether a piece of the reply was sent
        self._stream = queue.follow_task(submitted.task_id, heartbeat=form.silence_s)
        self._forget = on_disconnect(self._stream.close)
        current().set_header(TASK_ID, submitted.task_id)

    def whole(self) -> Any:
        """Wait for the complete reply. Raises `TaskFailed`, `Unavailable`."""
        try:
            for _ in self._chunks():
                pass
        finally:
            self.close()
        task = self._shown()
        if task.status is not Status.COMPLETED:
            raise failure_of(task)
        return task.result

    def streamed(self) -> StreamingResponse:
        """Stream the reply. The head of the answer is sent with the first piece, or with the first
        heartbeat if the format has one.

        Raises `TaskFailed` or `Unavailable` for a failure before that; a later one ends the stream
        with an error. So does a reply that restarts because its model server was lost: a client
        cannot take back what it has shown.
        """
        chunks = self._chunks()
        try:
            start = self._start(chunks)
        except BaseException:
            self.close()
            raise
        return StreamingResponse(self._pieces(start, chunks), self.close, self._form.media)

    def close(self) -> None:
        """Stop following. Cancels the task if the client left before its answer was complete."""
        self._forget()
        self._stream.close()
        if not self._is_over:
            self._is_over = True
            with suppress(QueueError):  # it has just ended, or the queue itself does
                self._queue.cancel_task(self.task_id)

    # --- pieces ---------------------------------------------------------------------------------

    def _shown(self) -> Task:
        """Get the task, and set the headers that describe its run."""
        task = self._queue.get_task(self.task_id)
        if task.started_at is not None:
            waited = task.started_at - task.created_at
            current().set_header(WAIT, str(max(0, round(waited.total_seconds() * 1000))))
        if task.executed_on is not None:
            current().set_header(BACKEND, task.executed_on)
            self._say_ignored(task.executed_on)
        return task

    def _say_ignored(self, backend: str) -> None:
        """List the hints that this server does not support, in a header."""
        types = {each.name: each.type for each in self._queue.list_backends() if self._hints}
        if types.get(backend, "ollama") != "ollama":
            names = [quote(name[:MAX_NAME], safe="") for name in self._hints[:MAX_NAMES]]
            current().set_header(IGNORED, ", ".join(names))

    def _chunks(self) -> Iterator[Chunk | None]:
        for chunk in self._stream:
            if chunk is not None:
                # After the reply's last piece there is nothing to cancel.
                self._is_over = self._is_over or chunk.done or self._form.is_last(chunk.data)
            yield chunk

    def _start(self, chunks: Iterator[Chunk | None]) -> bytes:
        for chunk in chunks:
            data = self._waiting() if chunk is None else b""
            if chunk is not None and chunk.data is not None:
                self._shown()
                data = self._form.piece(chunk.data)
                self._has_begun = True
            if data:
                return data
        task = self._shown()
        if self._has_begun and task.status is Status.COMPLETED:
            return self._form.end
        raise failure_of(task)

    def _pieces(self, start: bytes, rest: Iterator[Chunk | None]) -> Iterator[bytes]:
        yield start
        try:
            for chunk in rest:
                if chunk is not None and chunk.restart and self._has_begun:
                    raise self._interrupted()
                if data := self._waiting() if chunk is None else self._encoded(chunk):
                    yield data
        except QueueError as error:
            yield self._form.failed(error)

    def _interrupted(self) -> wire.TaskFailed:
        ended = self._queue.get_task(self.task_id).attempts  # the next one may have ended too
        upstream = next((each.upstream for each in reversed(ended) if each.error), None)
        why = upstream.message if upstream else "the reply was interrupted"
        message = f"{why}; the output of task {self.task_id} so far is incomplete"
        return wire.TaskFailed(
            message, 502, replace(upstream, message=message) if upstream else None
        )

    def _encoded(self, chunk: Chunk) -> bytes:
        """Encode a chunk. Raises `TaskFailed` at the end of an unsuccessful task."""
        if chunk.data is not None:
            self._has_begun = True
            return self._form.piece(chunk.data)
        if not chunk.done:
            return b""
        if chunk.status is not Status.COMPLETED:
            raise failure_of(self._queue.get_task(self.task_id))
        return self._form.end

    def _waiting(self) -> bytes:
        task = None
        with suppress(QueueError):  # the actors are restarting: keep waiting
            task = self._queue.get_task(self.task_id)
        return self._form.waiting(task)


def failure_of(task: Task) -> wire.TaskFailed:
    """Why a task has no reply, with the model server's status if it sent one."""
    if task.status is Status.CANCELLED:
        return wire.TaskFailed(f"task {task.id} was cancelled", CLIENT_GONE)
    if task.status is not Status.FAILED:
        return wire.TaskFailed(f"task {task.id} has not ended", CLIENT_GONE)
    message = task.error or "the task failed"
    if not task.attempts:  # no backend had its model within `model_wait`
        return wire.TaskFailed(unknown_model(task.model).message, 404)
    last = task.attempts[-1]
    return wire.failure_upstream(last.status, last.upstream, message)


def _timeout_s() -> float | None:
    header = reading.header(TIMEOUT)
    try:
        return None if header is None else parse_timeout(float(header), TIMEOUT)
    except ValueError:
        return parse_timeout(None, TIMEOUT)


def _detached() -> bool:
    header = reading.header(DETACH)
    if header is None:
        return False
    if header.strip().lower() not in _SWITCH:
        raise Invalid(f"{DETACH} must be true or false", field=DETACH)
    return _SWITCH[header.strip().lower()]
