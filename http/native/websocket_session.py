"""A WebSocket session: sends a snapshot and events, receives subscription messages."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ...actors.base.mailbox import Closed
from ...actors.core.intake import arguments
from ...actors.core.model.errors import Invalid, QueueError
from ...actors.core.model.tasks import Piece
from ...actors.embedded import watch
from .. import sse, wire
from .feed import LocalQueue
from .feed_broadcaster import Feed, FeedBroadcaster, FeedMessage, FeedView

PING_S = 20.0
TOGETHER = 50  # messages per write
MOST_STREAMS = 50
PIECES_AHEAD = 100  # chunks of one stream queued and not yet sent
CODES = {"lagged": 1013, "shutdown": 1001}


class Socket(Protocol):
    """A WebSocket usable from several threads; a failing `send` raises `OSError`."""

    def send(self, *messages: bytes) -> None:
        """Send each as a text message, in one write."""
        ...

    def ping(self) -> None: ...

    def receive(self) -> str | bytes | None:
        """The next message; None once the socket is closed."""
        ...

    def close(self, code: int = 1000, message: str = "") -> None: ...


class SubscriptionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A client's subscription message; null means all, an omitted field stays unchanged."""

    subscribe: list[str] | UnsetType | None = UNSET
    tasks: list[str] | UnsetType | None = UNSET
    chunks: bool | UnsetType = UNSET


def run_session(
    socket: Socket, source: LocalQueue, broadcaster: FeedBroadcaster, view: FeedView | None = None
) -> None:
    """Serve the socket until either end closes it; its feed shows what `view` does."""
    WebSocketSession(socket, source, Feed(broadcaster, view=view)).run()


class WebSocketSession:
    """One WebSocket: this thread writes, another reads, and one more per stream follows it."""

    def __init__(self, socket: Socket, source: LocalQueue, feed: Feed) -> None:
        self.socket, self.source, self.feed = socket, source, feed
        self.chunks = False
        self.streams: dict[str, StreamFollower] = {}
        self.ping_at = time.monotonic() + PING_S

    def run(self) -> None:
        code, reason = 1000, ""
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._write()
        except Closed as closed:
            code, reason = CODES.get(closed.message, 1000), closed.message
        except QueueError as error:
            code, reason = 1013, error.message
        except OSError:
            code = 1006
        finally:
            self.feed.close()
            self.socket.close(code, reason)
            for stream in tuple(self.streams.values()):
                stream.close()

    # --- writing --------------------------------------------------------------------------------

    def _write(self) -> None:
        while True:
            items = self.feed.take(max(0.0, self.ping_at - time.monotonic()))
            if _GONE in items:
                return
            for start in range(0, len(items), TOGETHER):
                self._send(items[start : start + TOGETHER])
            if time.monotonic() >= self.ping_at:
                self.socket.ping()
                self.ping_at = time.monotonic() + PING_S

    def _send(self, items: Sequence[Any]) -> None:
        self.socket.send(*map(_message, items))
        for item in items:
            if isinstance(item, StreamMessage):
                item.follower.send_slots.release()

    # --- reading --------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while (message := self.socket.receive()) is not None:
                self.feed.put(self._answer(message))
        finally:
            self.feed.put(_GONE)

    def _answer(self, message: str | bytes) -> dict[str, Any]:
        try:
            self._apply(_decode(message))
        except QueueError as error:
            return _error_message(error)
        return {
            "type": "subscribed",
            "subscribe": self.feed.events,
            "tasks": self.feed.tasks,
            "chunks": self.chunks,
        }

    def _apply(self, request: SubscriptionRequest) -> None:
        events, tasks, chunks = self.feed.events, self.feed.tasks, self.chunks
        if request.subscribe is not UNSET:
            events = arguments.events(request.subscribe)
        if request.tasks is not UNSET:
            tasks = arguments.watched(request.tasks)
        if request.chunks is not UNSET:
            chunks = request.chunks
        if chunks and not (tasks and len(tasks) <= MOST_STREAMS):
            raise Invalid(f"chunks requires tasks, {MOST_STREAMS} at most", field="chunks")
        self.feed.events, self.feed.tasks, self.chunks = events, tasks, chunks
        self._follow(tasks if chunks and tasks else frozenset())

    def _follow(self, task_ids: frozenset[str]) -> None:
        for task_id in self.streams.keys() - task_ids:
            self.streams.pop(task_id).close()
        for task_id in sorted(task_ids - self.streams.keys()):
            try:
                self.streams[task_id] = StreamFollower(task_id, self.source, self.feed)
            except QueueError as error:  # not the caller's
                self.feed.put(_error_message(error))


class StreamFollower(threading.Thread):
    """Forwards the chunks of one task, with at most `PIECES_AHEAD` of them unsent."""

    def __init__(self, task_id: str, source: LocalQueue, feed: Feed) -> None:
        super().__init__(daemon=True)
        self.task_id, self.feed = task_id, feed
        self.send_slots = threading.Semaphore(PIECES_AHEAD)
        self.stream = source.follow_task(task_id, heartbeat=sse.HEARTBEAT_S)
        self.is_over = False
        self.start()

    def run(self) -> None:
        try:
            for deliveries in self.stream:
                for item in deliveries:
                    self._put(_piece(self.task_id, item))
        except QueueError as error:
            self._put(_error_message(error))

    def close(self) -> None:
        self.is_over = True
        self.stream.close()
        self.send_slots.release()

    def _put(self, message: dict[str, Any]) -> None:
        self.send_slots.acquire()
        if not self.is_over:
            self.feed.put(StreamMessage(self, message))


class StreamMessage(Struct, frozen=True):
    """A follower's message; sending it frees one of the follower's slots."""

    follower: StreamFollower
    message: dict[str, Any]


_GONE = object()  # the client has left


def _message(item: Any) -> bytes:
    if isinstance(item, FeedMessage):
        return item.message
    return msgspec.json.encode(item.message if isinstance(item, StreamMessage) else item)


def _piece(task_id: str, item: watch.StreamItem) -> dict[str, Any]:
    if isinstance(item, Piece):
        data = msgspec.Raw(item.raw)
        return {"type": "chunk", "task_id": task_id, "id": watch.position(item), "data": data}
    if item.done:
        return {"type": "end", "task_id": task_id, "status": item.status, "error": item.error}
    return {"type": "restart", "task_id": task_id}


def _error_message(error: QueueError) -> dict[str, Any]:
    return {"type": "error", **msgspec.to_builtins(wire.error_body(error))}


def _decode(message: str | bytes) -> SubscriptionRequest:
    try:
        return msgspec.json.decode(message, type=SubscriptionRequest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid(
            f'not a subscription message, such as {{"subscribe": ["task_completed"]}}: {error}',
            field="message",
        ) from None
