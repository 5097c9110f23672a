"""The HTTP protocol of `Client` and `AsyncClient`, as routines without I/O.

Requests are retried when that is safe; streams resume where they broke off.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from httpx import Response

from ...actors.base.mailbox import Closed
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import OfTask
from ...actors.core.model.errors import OutcomeUnknown, Unavailable
from ...actors.core.model.tasks import Chunk, Task
from ...actors.routines.outage import PAUSE_S, Outage
from ...actors.routines.steps import (
    Deliver,
    Listen,
    Now,
    ReadBatch,
    ReadPage,
    ReadTask,
    Receive,
    Release,
    Routine,
    Sleep,
    Source,
    Step,
)
from .. import routes
from ..sse import Frame
from . import frames, requests
from .requests import KEY, Request

SUBMIT_PATIENCE_S = 10.0  # retry a submit whose response was lost, over a server restart
READ_PATIENCE_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0  # before retries; each is twice the previous
WAIT_SLICE_S = 30.0  # one request of a longer wait
CHUNKS_AHEAD = 100_000  # of one stream, buffered before they are read

T = TypeVar("T")


class Send(Step[Response], frozen=True):
    """Send a request and receive its complete response.

    Raises the `QueueError` in the response, `Unavailable` if there is no response, and
    `OutcomeUnknown`, an `Unavailable`, if the request may have arrived.
    """

    request: Request[Any]


class Open(Step[Source], frozen=True):
    """Send a request and receive its streamed response; `take` converts its frames to items.

    Raises the same errors as `Send`. The source is closed as "restarted" when the response ends or
    breaks off.
    """

    request: Request[Any]
    take: Callable[[Frame], Any]
    ahead: int


class IsClosed(Step[bool], frozen=True):
    """Whether the client is closed; then nothing is retried."""


def ask(request: Request[T]) -> Routine[T]:
    """Send a request and return the answer. If the response is lost, retry when that is safe.

    After that, an unavailable server does not prove that the request was not executed, so the
    first error is raised.
    """
    outage, pause_s = Outage(_patience_s(request)), FIRST_PAUSE_S
    lost: Unavailable | None = None
    while True:
        try:
            return request.read((yield from Send(request)))
        except Unavailable as error:
            if (yield from IsClosed()):
                raise
            if lost is None and not isinstance(error, OutcomeUnknown):
                raise
            lost = lost or error
            if outage.is_too_long((yield from Now())):
                raise lost from None
        yield from Sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _patience_s(request: Request[Any]) -> float:
    """How long to retry a request, in seconds; 0 if doing it twice is not safe."""
    if KEY in request.headers or request.is_safe_twice:
        return SUBMIT_PATIENCE_S
    return READ_PATIENCE_S if request.method == "GET" else 0.0


def wait(task_id: OfTask, timeout: float | None) -> Routine[Task]:
    """Wait until a task has ended, in slices, and over a restart of the server."""
    task_id, timeout = arguments.task_id(task_id), arguments.seconds(timeout, "timeout")
    deadline = None if timeout is None else (yield from Now()) + timeout
    outage, left = Outage(), WAIT_SLICE_S
    while True:
        if deadline is not None:
            left = min(max(deadline - (yield from Now()), 0.0), WAIT_SLICE_S)
        try:
            task = yield from ask(requests.get_task(task_id, left))
        except Unavailable:
            now = yield from Now()
            is_late = deadline is not None and now >= deadline
            if (yield from IsClosed()) or is_late or outage.is_too_long(now):
                raise
            yield from Sleep(PAUSE_S)
            continue
        outage.end()
        if task.status.is_final:
            return task
        if deadline is not None and (yield from Now()) >= deadline:
            raise arguments.late(f"task {task_id} has not ended", timeout)


def listen(
    events: frozenset[str] | None, tasks: frozenset[str] | None, patience_s: float, ahead: int
) -> Routine[Source]:
    """Subscribe to events. Tries for `patience_s` seconds to reach the server."""
    request = requests.events(events, tasks)
    deadline = (yield from Now()) + patience_s
    while True:
        try:
            return (yield from Open(request, frames.TakesEvents(), ahead))
        except Unavailable:
            if (yield from IsClosed()) or (yield from Now()) >= deadline:
                raise
        yield from Sleep(PAUSE_S)


def stream_task(task_id: OfTask, timeout: float | None) -> Routine[None]:
    """Deliver the chunks of a task, each once and in order, also if the connection is lost.

    Raises `TimeoutError` after `timeout` seconds without a chunk. Raises `Invalid` when called, not
    when iterated.
    """
    return _stream(arguments.task_id(task_id), arguments.seconds(timeout, "timeout"))


def _stream(task_id: str, timeout: float | None) -> Routine[None]:
    position, outage = StreamPosition(), Outage()
    while True:
        source: Source | None = None
        try:
            request = requests.stream_task(task_id, position.headers)
            source = yield from Open(request, frames.chunk, CHUNKS_AHEAD)
            receive = Receive(source, timeout)
            while True:
                chunk: Chunk = yield receive  # thousands of chunks: `yield from` would be slower
                outage.end()
                if position.passes(chunk):
                    yield Deliver(chunk)
                if chunk.done:
                    return
        except (Closed, Unavailable) as lost:
            if isinstance(lost, Closed) and lost.message == "unsubscribed":
                raise Unavailable("this client is closed") from None
            if outage.is_over and isinstance(lost, Unavailable):
                raise  # the stream was never open
            if outage.is_too_long((yield from Now())):
                message = "the connection was lost, and the queue is still unavailable"
                raise Unavailable(message) from None
        finally:
            if source is not None:
                yield from Release(source)
        yield from Sleep(PAUSE_S)


# How steps that all queues have are executed over HTTP.
EXPANDED: dict[type[Step[Any]], Callable[[Any], Routine[Any]]] = {
    Listen: lambda step: listen(step.events, step.tasks, step.patience_s, step.ahead),
    ReadTask: lambda step: ask(requests.get_task(step.task_id, None)),
    ReadBatch: lambda step: ask(requests.build(routes.GET_BATCH, step.batch_id)),
    ReadPage: lambda step: ask(requests.list_page(step.filter)),
}


class StreamPosition:
    """How far a stream has been read, to resume it after the last chunk."""

    def __init__(self) -> None:
        self._id = ""
        self._last = (0, -1)

    @property
    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": self._id} if self._id else {}

    def passes(self, chunk: Chunk) -> bool:
        """Record a chunk. False if it was received before."""
        if chunk.restart:
            self._last = (0, -1)
        elif not chunk.done:
            attempt, _, number = chunk.id.partition(".")
            try:
                at = int(attempt), int(number)
            except ValueError:  # from a server with other chunk ids
                return True
            if at <= self._last:
                return False
            self._id, self._last = chunk.id, at
        return True
