"""A request answered by a task, which is cancelled if the waiting client disconnects."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from ...actors.base.cooperation import cooperatively
from ...actors.core.intake.submission import parse_priority, parse_seconds
from ...actors.core.model import limits
from ...actors.core.model.errors import Conflict, Invalid, QueueError, unknown_model
from ...actors.core.model.tasks import (
    CLIENT_LEFT,
    ErrorCode,
    NewTask,
    Piece,
    Status,
    Submitted,
    Task,
)
from ...actors.core.openai.translation import hints
from ...actors.embedded.watch import StreamItem
from .. import wire
from ..requests import reading
from ..requests.exchange import current
from ..requests.streaming import StreamingResponse, on_disconnect, together
from .audience import Audience
from .queue_protocol import DropinQueue

PRIORITY, TENANT, DETACH = "X-Queue-Priority", "X-Queue-Tenant", "X-Queue-Detach"
TIMEOUT, START_WITHIN = "X-Queue-Timeout", "X-Queue-Start-Within"
TASK_ID, WAIT, BACKEND = "X-Queue-Task-Id", "X-Queue-Wait-Ms", "X-Queue-Backend"
MODEL = "X-Queue-Model"
IGNORED = "X-Queue-Ignored"
MAX_NAMES, MAX_NAME = 32, 64  # names in that header, and characters per name
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def wishes(priority: int) -> dict[str, Any]:
    """The task fields that the request's headers set; `priority` is the default priority.

    Raises `Invalid`, naming the header.
    """
    raw_priority, most = reading.header(PRIORITY), current().caller.rules.max_priority
    try:
        # A default may be lowered to what the key allows; what is asked for is refused later.
        default = priority if most is None else min(priority, most)
        level = default if raw_priority is None else parse_priority(raw_priority)
    except Invalid as error:
        raise Invalid(f"{PRIORITY}: {error.message}", field=PRIORITY) from None
    start_within = _seconds(START_WITHIN, limits.START_WITHIN_S)
    return {
        "priority": level,
        "tenant": tenant_header(),
        "start_within": start_within,
        "fallback_models": fallbacks_header(),
    }


def fallbacks_header() -> list[str] | None:
    """The models that the request's header names; the task's check refuses wrong ones."""
    header = reading.header(wire.FALLBACKS)
    if header is None:
        return None
    return [name.strip() for name in header.split(",")] if header.strip() else []


def time_limit() -> float | None:
    """The seconds after which the request's task expires, as its header says. Raises `Invalid`.

    It is not a field of the task: a repeated request with an idempotency key is the same request,
    though it comes later.
    """
    return _seconds(TIMEOUT, limits.TIMEOUT_S)


def tenant_header() -> str | None:
    """The tenant that the request's header names, else that of its key. Raises `Invalid`."""
    tenant = reading.header(TENANT)
    limits.check_text(tenant or "", TENANT)
    return tenant or current().caller.tenant or tenant


class StreamFormat(Protocol):
    """How an API writes a stream; `b""` where it writes nothing.

    A piece of the reply is the JSON of one object in the task's dialect, on one line: the model
    server's own if there is nothing but text in it, else without spaces. Passing it on costs a
    tenth of what decoding and encoding it does.
    """

    media: str

    @property
    def silence_s(self) -> float | None:
        """After how many seconds of silence `waiting` is sent; None: never."""

    @property
    def end(self) -> bytes:
        """The end of a successful stream."""

    def piece(self, raw: bytes) -> bytes:
        """Encode a piece of the reply, or the complete reply where its pieces are lost."""

    def is_last(self, raw: bytes) -> bool:
        """Whether this is the reply's last piece."""

    def waiting(self, task: Task | None) -> bytes:
        """A heartbeat, with the task's place in the queue if known."""

    def failed(self, error: QueueError) -> bytes:
        """Encode an error after the head of the answer has been sent."""


class QueuedCall:
    """Submits a task for the current request, and follows it.

    If the client disconnects, the task is cancelled, unless the client sent `X-Queue-Detach`, or
    another request with its `Idempotency-Key` waits for the task or submitted it elsewhere. A task
    that was cancelled like that runs again when a request with its key asks for it.
    """

    def __init__(self, queue: DropinQueue, new: NewTask, form: StreamFormat) -> None:
        stays = _detached()
        key = reading.header("Idempotency-Key")
        if key is not None:
            queue.check_leads()  # where all who wait for its task meet
        now, self._expires_in = time.time(), time_limit()
        self._queue, self._form = queue, form
        self._hints, self._model = hints(new), new.model
        self._is_over = False  # nothing left to cancel
        stream = self._stream = queue.follow_next(heartbeat=form.silence_s)
        try:
            submitted = queue.submit_listed(new, idempotency_key=key, expires_in=self._expires_in)
            self.task_id = stream.task_id = submitted.task_id
            self._submitted_at = now if submitted.created else None
            self._audience = self._joined(submitted, stays=stays, has_key=key is not None)
        except BaseException:
            stream.close()
            raise
        self._has_begun = False  # whether a piece of the reply was sent
        self._has_answered = False  # or anything else
        self._send_now = current().send_now
        self._forget = on_disconnect(stream.close)
        current().set_header(TASK_ID, submitted.task_id)

    def whole(self) -> Any:
        """Wait for the complete reply. Raises `TaskFailed`, `Unavailable`."""
        return self.completed().result

    def raw(self) -> msgspec.Raw:
        """The same as JSON, not decoded: vectors may be large. Raises as `whole` does."""
        result = self._completed(self._queue.get_raw_task).result
        return msgspec.Raw(b"null") if result is None else result

    def completed(self) -> Task:
        """Wait until the task is completed. Raises as `whole` does."""
        return self._completed(self._queue.get_task)

    def _completed(self, get: Callable[[str], Task]) -> Task:
        self._stream.needs_pieces, self._stream.write = False, self._note
        try:
            for _ in self._deliveries():
                pass
        finally:
            self.close()
        task = self._shown(get)
        if task.status is not Status.COMPLETED:
            raise failure_of(task)
        return task

    @property
    def model_used(self) -> str:
        """The model of the task's current or last call."""
        begun = self._stream.begun
        if begun is not None:
            return begun.fallback or self._model
        return self._queue.get_raw_task(self.task_id).model_used or self._model

    def streamed(self) -> StreamingResponse:
        """Stream the reply. The head of the answer is sent with the first piece, or with the first
        heartbeat if the format has one.

        Raises `TaskFailed` or `Unavailable` for a failure before that; a later one ends the stream
        with an error. So does a reply that restarts because its model server was lost: a client
        cannot take back what it has shown.
        """
        writes = self._writes()
        try:
            start = next(writes, None)
            if start is None:  # the client left
                raise failure_of(self._shown(self._queue.get_raw_task))
        except BaseException:
            self.close()
            raise
        return StreamingResponse(itertools.chain((start,), writes), self.close, self._form.media)

    def close(self) -> None:
        """Stop following. Cancels the task if the client left before its answer was complete."""
        self._forget()
        self._stream.close()
        audience, self._audience = self._audience, None
        if audience is not None:
            audience.leave(self.task_id, self._abandon)

    def _joined(self, submitted: Submitted, *, stays: bool, has_key: bool) -> Audience | None:
        """Join those who wait for the task; None if it needs nobody who does."""
        if not has_key and stays:
            return None
        audience = Audience.join(self.task_id)
        try:
            if stays:
                audience.ends_with_it = False
            elif submitted.created or self._revived():
                audience.ends_with_it = True
        except BaseException:
            audience.leave(self.task_id, self._abandon)
            raise
        return audience

    def _revived(self) -> bool:
        """Queue the task again if it was cancelled only because its client had left."""
        task = self._queue.get_task(self.task_id)
        if task.status is not Status.CANCELLED or task.error != CLIENT_LEFT:
            return False
        with suppress(Conflict):  # another request does the same
            self._queue.revive_task(self.task_id, expires_in=self._expires_in)
        return True

    def _abandon(self) -> None:
        if not self._is_over:
            with suppress(QueueError):  # it has just ended, or the queue itself does
                self._queue.abandon_task(self.task_id)

    # --- pieces ---------------------------------------------------------------------------------

    def _shown(self, get: Callable[[str], Task]) -> Task:
        """Get the task, and set the headers that describe its run."""
        task = get(self.task_id)
        if task.started_at is not None:
            waited = task.started_at - task.created_at
            self._describe(waited.total_seconds(), task.executed_on, task.model_used)
        return task

    def _describe(self, waited_s: float, backend: str | None, model: str | None) -> None:
        current().set_header(WAIT, str(max(0, round(waited_s * 1000))))
        current().set_header(MODEL, quote(model or self._model, safe="/:"))
        if backend is not None:
            current().set_header(BACKEND, backend)
            if self._hints:
                self._say_ignored(backend)

    def _say_ignored(self, backend: str) -> None:
        """List the hints that this server does not support, in a header."""
        if self._queue.backend_types().get(backend, "ollama") != "ollama":
            names = [quote(name[:MAX_NAME], safe="") for name in self._hints[:MAX_NAMES]]
            current().set_header(IGNORED, ", ".join(names))

    def _deliveries(self) -> Iterator[list[StreamItem]]:
        for deliveries in self._stream:
            if deliveries and not self._is_over:
                last = deliveries[-1]
                if isinstance(last, Piece):
                    self._note(last)
                else:
                    self._is_over = last.done
            yield deliveries

    def _note(self, piece: Piece) -> bool:
        """Note whether it is the reply's last piece, after which there is nothing to cancel."""
        self._is_over = self._is_over or self._form.is_last(piece.raw)
        return True

    def _writes(self) -> Iterator[bytes]:
        """What to send, in one piece what has arrived at once.

        Raises if nothing has been sent, else sends the error.
        """
        try:
            for deliveries in self._deliveries():
                if len(deliveries) == 1 and self._has_begun and isinstance(deliveries[0], Piece):
                    if data := self._form.piece(deliveries[0].raw):  # most often
                        yield data
                    continue
                if not deliveries:
                    data = self._waiting()
                    self._has_answered = self._has_answered or data != b""
                    yield data  # if empty, what could not be sent at once is sent now
                    continue
                for data in together(self._encoded(deliveries)):
                    self._has_answered = True
                    yield data
        except QueueError as error:
            if not self._has_answered:
                raise
            yield self._form.failed(error)

    def _encoded(self, deliveries: list[StreamItem]) -> Iterator[bytes]:
        """Raises `TaskFailed` at the end of an unsuccessful task."""
        for item in cooperatively(deliveries, self._queue.yield_control):
            if isinstance(item, Piece):
                data = self._form.piece(item.raw)
                if data and not (self._has_begun or self._has_answered):
                    self._say_where()
                self._has_begun = True
                if self._send_now is not None:
                    self._stream.write = self._write
                yield data
            elif item.restart and self._has_begun:
                raise self._interrupted()
            elif item.done and item.status is not Status.COMPLETED:
                raise failure_of(self._queue.get_task(self.task_id))
            elif item.done:
                yield self._form.end

    def _write(self, piece: Piece) -> bool:
        """Send a piece at once, in the thread of the call."""
        assert self._send_now is not None
        form, raw = self._form, piece.raw
        self._is_over = self._is_over or form.is_last(raw)
        data = form.piece(raw)
        return not data or self._send_now(data)

    def _say_where(self) -> None:
        """Set the headers that describe the run, without waiting for its start to be on disk."""
        begun = self._stream.begun
        if begun is None or self._submitted_at is None:
            self._shown(self._queue.get_raw_task)
        else:
            self._describe(begun.at - self._submitted_at, begun.backend, begun.fallback)

    def _interrupted(self) -> wire.TaskFailed:
        ended = self._queue.get_task(self.task_id).attempts  # the next one may have ended too
        upstream = next((each.upstream for each in reversed(ended) if each.error), None)
        why = upstream.message if upstream else "the reply was interrupted"
        message = f"{why}; the output of task {self.task_id} so far is incomplete"
        return wire.TaskFailed(
            message, 502, replace(upstream, message=message) if upstream else None
        )

    def _waiting(self) -> bytes:
        if self._is_over:
            return b""  # nothing but the end follows the last piece
        task = None
        with suppress(QueueError):  # the actors are restarting: keep waiting
            task = self._queue.get_task(self.task_id)
        return self._form.waiting(task)


def failure_of(task: Task) -> wire.TaskFailed:
    """Why a task has no reply, with the model server's status if it sent one."""
    if task.status is Status.CANCELLED:
        return wire.TaskFailed(f"task {task.id} was cancelled", wire.CLIENT_GONE)
    if task.status is not Status.FAILED:
        return wire.TaskFailed(f"task {task.id} has not ended", wire.CLIENT_GONE)
    message = task.error or "the task failed"
    if task.error_code is ErrorCode.EXPIRED:
        return wire.TaskFailed(f"task {task.id} expired: {message}", 504, code=task.error_code)
    if not task.attempts:  # no backend had its model within `model_wait`
        return wire.TaskFailed(unknown_model(task.model).message, 404)
    last = task.attempts[-1]
    return wire.failure_upstream(last.status, last.upstream, message)


def _seconds(name: str, most: float) -> float | None:
    header = reading.header(name)
    try:
        return None if header is None else parse_seconds(float(header), name, most)
    except ValueError:
        return parse_seconds(None, name, most)


def _detached() -> bool:
    header = reading.header(DETACH)
    if header is None:
        return False
    if header.strip().lower() not in _SWITCH:
        raise Invalid(f"{DETACH} must be true or false", field=DETACH)
    return _SWITCH[header.strip().lower()]
