"""A request that a task answers: its client waits, and the task ends when the client goes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import bottle

from ollama_queue.actors.core.errors import Invalid, NotFound, QueueError
from ollama_queue.actors.core.records import Chunk, NewTask, Status, Submitted, Task
from ollama_queue.actors.core.submission import parse_priority
from ollama_queue.http import reading, wire
from ollama_queue.http.answer import Answer, watch_departure
from ollama_queue.http.servers import Servers

PRIORITY, TENANT, DETACH = "X-Queue-Priority", "X-Queue-Tenant", "X-Queue-Detach"
TASK_ID, WAIT, BACKEND = "X-Queue-Task-Id", "X-Queue-Wait-Ms", "X-Queue-Backend"
SILENCE_S = 3600.0  # nothing is said while a task waits: a blank line would break some clients
CLIENT_GONE = 499
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def wishes(priority: int) -> dict[str, Any]:
    """What the request's headers say of its task, whose priority is `priority` without a word.

    Raises `Invalid`, naming the header.
    """
    given = reading.header(PRIORITY)
    try:
        level = priority if given is None else parse_priority(given)
    except Invalid as error:
        raise Invalid(f"{PRIORITY}: {error.message}", field=PRIORITY) from None
    return {"priority": level, "tenant": reading.header(TENANT)}


class Queued:
    """A task, submitted for the client of the request in hand, and what becomes of it.

    A client that goes cancels it, unless it sent `X-Queue-Detach`, or its `Idempotency-Key` found
    a task that another request had brought.
    """

    def __init__(self, queue: Servers, new: NewTask) -> None:
        stays = _detached()
        made = _submit(queue, new, reading.header("Idempotency-Key"))
        self._queue, self.task_id = queue, made.task_id
        self._is_over = stays or not made.created  # whether its end is no business of ours
        self._stream = queue.follow_task(made.task_id, heartbeat=SILENCE_S)
        self._forget = watch_departure(self._stream.close)
        bottle.response.set_header(TASK_ID, made.task_id)

    def whole(self) -> Any:
        """The whole reply, once it is there. Raises `TaskFailed`, `Unavailable`."""
        try:
            for _ in self._chunks():
                pass
        finally:
            self.close()
        task = self._shown()
        if task.status is not Status.COMPLETED:
            raise failure_of(task)
        return task.result

    def streamed(self, failed: Callable[[str], bytes]) -> Answer:
        """The reply as it comes, a line of JSON each; the head of the answer goes with the first.

        Raises `TaskFailed` or `Unavailable` for what goes wrong before; of what goes wrong later
        `failed` makes the last line. A reply that begins anew, since its model server was lost,
        counts as that: no client can take back what it has shown.
        """
        chunks = self._chunks()
        try:
            first = next((chunk for chunk in chunks if chunk.data is not None), None)
            task = self._shown()
            if first is None:
                raise failure_of(task)
        except BaseException:
            self.close()
            raise
        return Answer(self._lines(first, chunks, failed), self.close, wire.NDJSON)

    def close(self) -> None:
        """The client has its answer, or has gone: then the task ends, too."""
        self._forget()
        self._stream.close()
        if not self._is_over:
            self._is_over = True
            with suppress(QueueError):  # it has just ended, or the queue itself does
                self._queue.cancel_task(self.task_id)

    # --- pieces ---------------------------------------------------------------------------------

    def _shown(self) -> Task:
        """The task, of whose run the headers tell."""
        task = self._queue.get_task(self.task_id)
        if task.started_at is not None:
            waited = task.started_at - task.created_at
            bottle.response.set_header(WAIT, str(max(0, round(waited.total_seconds() * 1000))))
        if task.executed_on is not None:
            bottle.response.set_header(BACKEND, task.executed_on)
        return task

    def _chunks(self) -> Iterator[Chunk]:
        for chunk in self._stream:
            if chunk is not None:
                # Behind the model's last line there is nothing to cancel.
                self._is_over = self._is_over or chunk.done or _is_last(chunk.data)
                yield chunk

    def _lines(
        self, first: Chunk, rest: Iterator[Chunk], failed: Callable[[str], bytes]
    ) -> Iterator[bytes]:
        yield _line(first.data)
        try:
            for chunk in rest:
                if chunk.restart:
                    yield failed(self._interrupted())
                    return
                if chunk.data is not None:
                    yield _line(chunk.data)
                elif chunk.status is Status.CANCELLED:
                    yield failed(f"task {self.task_id} was cancelled")
                elif chunk.error is not None:
                    yield failed(chunk.error)
        except QueueError as error:
            yield failed(error.message)

    def _interrupted(self) -> str:
        ended = self._queue.get_task(self.task_id).attempts
        why = (ended[-1].error if ended else None) or "the reply was interrupted"
        return f"{why}; what came before of task {self.task_id} is not the whole reply"


def failure_of(task: Task) -> wire.TaskFailed:
    """Why a task gives no answer, with the model server's status where it gave one."""
    if task.status is Status.CANCELLED:
        return wire.TaskFailed(f"task {task.id} was cancelled", CLIENT_GONE)
    if task.status is not Status.FAILED:
        return wire.TaskFailed(f"task {task.id} has not ended", CLIENT_GONE)
    words = task.error or "the task failed"
    if not task.attempts:  # no backend had its model within `model_wait`
        return wire.TaskFailed(words, 404)
    return wire.TaskFailed(words, wire.passed_on(task.attempts[-1].status))


def _submit(queue: Servers, new: NewTask, key: str | None) -> Submitted:
    """Take on a task whose model there is. A miss has all backends asked once more."""
    with suppress(NotFound):
        return queue.submit(new, idempotency_key=key, listed=True)
    queue.survey_backends()
    return queue.submit(new, idempotency_key=key, listed=True)


def _detached() -> bool:
    given = reading.header(DETACH)
    if given is None:
        return False
    if given.strip().lower() not in _SWITCH:
        raise Invalid(f"{DETACH} must be true or false", field=DETACH)
    return _SWITCH[given.strip().lower()]


def _is_last(data: Any) -> bool:
    return isinstance(data, dict) and data.get("done") is True


def _line(data: Any) -> bytes:
    return wire.encode(data) + b"\n"
