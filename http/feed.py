"""What the server says by itself: a task's reply as it comes, events, and how things stand."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import bottle

from ollama_queue.actors import watch
from ollama_queue.actors.api import QueueAPI
from ollama_queue.actors.breathing import Breathe
from ollama_queue.actors.core.errors import QueueError, Unavailable
from ollama_queue.actors.core.figures import Snapshot
from ollama_queue.actors.core.records import Chunk, Event
from ollama_queue.actors.mailbox import Closed, Mailbox
from ollama_queue.actors.subscription import Leave, check_events
from ollama_queue.actors.views import shown
from ollama_queue.http import reading, sse, wire
from ollama_queue.http.answer import Answer, Events


class Source(QueueAPI, Protocol):
    """A queue in this process: what can be followed without a way over the wire."""

    breathe: Breathe

    def follow_task(
        self, task_id: str, *, after: watch.Place | None = None, heartbeat: float
    ) -> watch.Stream: ...

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
    ) -> Leave: ...


def add_feed_routes(
    app: bottle.Bottle, source: Source, talk: Callable[[Any, Source], None]
) -> None:
    """`talk` speaks to a WebSocket until it is closed."""

    def stream(task_id: str) -> Answer:
        reading.query(set())
        last = reading.header("Last-Event-ID")
        after = watch.place(last) if last else None
        source.get_task_status(task_id)  # an unknown one is a 404, not a stream
        chunks = source.follow_task(task_id, after=after, heartbeat=sse.HEARTBEAT_S)
        return Events(_chunk_frames(task_id, chunks), chunks.close)

    def events() -> Answer:
        given = reading.query({"events", "tasks"})
        tasks = given.get("tasks")
        feed = Feed(
            source, check_events(given.get("events")), None if tasks is None else frozenset(tasks)
        )
        return Events(_event_frames(feed), feed.close)

    def socket() -> dict[str, Any]:
        websocket = bottle.request.environ.get("wsgi.websocket")
        if websocket is None:
            bottle.response.status = 426
            bottle.response.set_header("Upgrade", "websocket")
            bottle.response.set_header("Sec-WebSocket-Version", "13")
            words = f"{wire.SOCKET} takes WebSockets only; {wire.EVENTS} says the same to others"
            return {"error": {"code": "upgrade_required", "message": words}}
        talk(websocket, source)
        return {}

    app.get(f"{wire.TASKS}/<task_id>/stream", callback=stream)
    app.get(wire.EVENTS, callback=events)
    app.get(wire.SOCKET, callback=socket)


def _chunk_frames(task_id: str, chunks: Iterator[Chunk | None]) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            yield sse.SILENCE if chunk is None else _chunk_frame(task_id, chunk)
    except QueueError as error:  # the client comes again, and says how far it had come
        yield _last_words(error)


def _chunk_frame(task_id: str, chunk: Chunk) -> bytes:
    if chunk.done:
        end = {"task_id": task_id, "status": chunk.status, "error": chunk.error}
        return sse.frame("end", end)
    if chunk.restart:
        return sse.frame("restart", {"task_id": task_id})
    return sse.frame("chunk", chunk.data, chunk.id)


def _event_frames(feed: "Feed") -> Iterator[bytes]:
    yield sse.frame("snapshot", feed.first)
    try:
        while True:
            item = feed.get(sse.HEARTBEAT_S)
            if item is None:
                yield sse.SILENCE
            else:
                yield sse.frame("snapshot" if isinstance(item, Snapshot) else "event", item)
    except QueueError as error:
        yield _last_words(error)


def _last_words(error: QueueError) -> bytes:
    return f": {error.message}\n\n".encode()


class Feed:
    """How things stand, then each change: none is lost, and none comes twice.

    It subscribes first and reads then. What the reading has seen already is known by the `seq` of
    each task, since a list may be newer than the subscription. After a reboot of the actors it
    begins anew with another snapshot. Others may `put` things in, for the same reader.
    """

    def __init__(
        self,
        source: Source,
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        size: int = 1000,
    ) -> None:
        self._source, self._events, self._tasks = source, events, tasks
        self._outbox = Mailbox[Any](size)
        self.first = self._begin()

    def get(self, timeout: float | None) -> Any:
        """A `Snapshot`, an `Event`, what was put in, or None after `timeout` seconds.

        Raises `Closed`, saying why nothing more comes, or `Unavailable`.
        """
        while True:
            try:
                item = self._outbox.get(timeout)
            except TimeoutError:
                return None
            if isinstance(item, _End):
                if item.inlet is not self._inlet:
                    continue
                if item.reason != "restarted":
                    raise Closed(item.reason)
                return self._begin()
            if not isinstance(item, Event):
                return item
            if item.task is None or item.seq > self._seen.get(item.task.id, 0):
                return shown(item)

    def put(self, item: Any) -> None:
        self._outbox.put(item)

    def close(self) -> None:
        self._leave()
        self._outbox.close("unsubscribed")

    def _begin(self) -> Snapshot:
        while True:
            self._inlet = _Inlet(self._outbox)
            self._leave = self._source.listen(self._inlet, self._events, self._tasks)
            try:
                tasks = self._source.list_tasks()
                stats = self._source.get_queue_stats()  # behind the tasks: never older than they
            except Unavailable:  # a reboot: `listen` waits for its end, or knows better
                self._leave()
                time.sleep(0.05)
                continue
            self._seen = {task.id: task.seq for task in tasks}
            return Snapshot(self._inlet.since, stats, tasks)


class _Inlet(Mailbox[Any]):
    """Where the event bus puts events for a feed; closing it is one more item."""

    def __init__(self, outbox: Mailbox[Any]) -> None:
        super().__init__()
        self._outbox = outbox

    def put(self, item: Any) -> bool:
        return self._outbox.put(item)

    def close(self, reason: str) -> None:
        self._outbox.put(_End(self, reason))


class _End:
    def __init__(self, inlet: _Inlet, reason: str) -> None:
        self.inlet, self.reason = inlet, reason
