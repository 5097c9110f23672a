"""The routes that stream: a task's reply, and events after a snapshot."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from ...actors.api.queue_api import QueueAPI
from ...actors.base.cooperation import YieldControl
from ...actors.base.mailbox import Mailbox
from ...actors.core.intake import arguments
from ...actors.core.model.errors import QueueError
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import Piece, Task
from ...actors.embedded import watch
from ...actors.routines.steps import Leave
from .. import routes, sse
from ..requests import reading
from ..requests.exchange import current
from ..requests.streaming import EventStream, StreamingResponse, together
from .answers import Handlers
from .feed_broadcaster import EventSource, Feed, FeedBroadcaster, FeedMessage, FeedView

FIRST_S = 30.0  # to wait for the snapshot or an error


class LocalQueue(QueueAPI, Protocol):
    """A queue in this process, which can be followed directly."""

    yield_control: YieldControl
    whole: EventSource  # what no caller's key limits

    def bound(self) -> "LocalQueue":
        """The queue as the caller of the current request may use it, for other threads."""

    def get_raw_task(self, task_id: str, *, wait: float | None = None) -> Task: ...

    def list_raw_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage: ...

    def follow_task(
        self, task_id: str, *, after: watch.ChunkPosition | None = None, heartbeat: float | None
    ) -> watch.PieceStream: ...

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
    ) -> Leave: ...


def feed_handlers(
    source: LocalQueue, run_session: Callable[[Any, LocalQueue, FeedBroadcaster, Any], None]
) -> Handlers:
    """The handlers; `run_session` serves a WebSocket until it is closed."""
    broadcaster = FeedBroadcaster(source.whole)

    def stream(task_id: str) -> StreamingResponse:
        reading.query(set())
        last = reading.header("Last-Event-ID")
        after = watch.place(last) if last else None
        source.get_task_status(task_id)  # an unknown task is a 404, not a stream
        chunks = source.follow_task(task_id, after=after, heartbeat=sse.HEARTBEAT_S)
        chunks.begin()
        frames = _chunk_frames(task_id, chunks, current().send_now)
        return EventStream(frames, chunks.close)

    def events() -> StreamingResponse:
        query = reading.query({"events", "tasks"})
        events, tasks = arguments.events(query.get("events")), arguments.watched(query.get("tasks"))
        feed = Feed(broadcaster, events, tasks, view=cast(FeedView, source.bound()))
        return EventStream(_event_frames(feed, feed.take(FIRST_S)), feed.close)

    def socket() -> dict[str, Any]:
        exchange = current()
        if exchange.websocket is None:
            exchange.status = 426
            exchange.response_headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            socket_path, events_path = routes.SOCKET.path, routes.EVENTS.path
            message = f"{socket_path} takes WebSockets only; {events_path} streams the same events"
            return {"error": {"code": "upgrade_required", "message": message}}
        bound = source.bound()
        run_session(exchange.websocket, bound, broadcaster, bound)
        return {}

    return {routes.STREAM_TASK: stream, routes.EVENTS: events, routes.SOCKET: socket}


def _chunk_frames(
    task_id: str, stream: watch.PieceStream, send_now: Callable[[bytes], bool] | None
) -> Iterator[bytes]:
    """The frames of a stream. A WSGI server may read them in another thread."""
    try:
        for deliveries in stream:
            if not deliveries:
                yield sse.SILENCE
            yield from together(_chunk_frame(task_id, item) for item in deliveries)
            if send_now is not None:
                stream.write = lambda piece: send_now(_chunk_frame(task_id, piece))
    except QueueError as error:  # the client reconnects with Last-Event-ID
        yield _last_words(error)


def _chunk_frame(task_id: str, item: watch.StreamItem) -> bytes:
    if isinstance(item, Piece):
        return sse.raw_frame("chunk", item.raw, watch.position(item))
    if item.done:
        end = {"task_id": task_id, "status": item.status, "error": item.error}
        return sse.frame("end", end)
    return sse.frame("restart", {"task_id": task_id})


def _event_frames(feed: Feed, messages: list[FeedMessage]) -> Iterator[bytes]:
    try:
        while True:
            if frames := [each.frame for each in messages if each.kind != "stats"]:
                yield b"".join(frames)
            elif not messages:
                yield sse.SILENCE
            messages = feed.take(sse.HEARTBEAT_S)
    except QueueError as error:
        yield _last_words(error)


def _last_words(error: QueueError) -> bytes:
    return f": {error.message}\n\n".encode()
