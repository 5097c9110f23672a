"""Publishes committed events to subscribers, and chunks of running tasks to readers."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, assert_never

from msgspec import Struct

from .base.actor import Actor, Replied, reply, tell
from .base.cooperation import YieldControl, cooperatively, never_yield
from .base.mailbox import Mailbox
from .core.messages import (
    Attach,
    Chunks,
    ChunksReady,
    CloseSubscriptions,
    GetHistory,
    GetThroughput,
    Publish,
    Subscribe,
    ToEventBus,
    Unsubscribe,
    Wake,
)
from .core.model.events import EventRecord
from .core.model.history import History
from .core.model.tasks import Chunk

BUFFER_BYTES = 1 << 20  # per task
ALL_BUFFERS_BYTES = 64 << 20
KEEP_S = 60.0  # how long a buffer outlives its task's end


class StreamBuffer(Struct):
    """The reply of a task so far, for readers that attach late.

    A stream that outgrows its buffer keeps nothing: a late reader gets the complete reply as one
    chunk when the task ends.
    """

    attempt: int
    pieces: list[Any]
    size: int = 0
    overflowed: bool = False


class EventBus(Actor):
    """Never waits for a subscriber: closes one that cannot keep up, as `lagged`."""

    def __init__(
        self,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        yield_control: YieldControl = never_yield,
    ) -> None:
        super().__init__(report, yield_control, clock)
        self.wall = wall
        self.seq = 0  # of the newest published event
        self.subscribers: dict[Mailbox[EventRecord], Subscribe] = {}
        self.by_task: dict[str, set[Mailbox[EventRecord]]] = {}
        self.readers: dict[str, set[Mailbox[Chunk]]] = {}
        self.streams: OrderedDict[str, StreamBuffer] = OrderedDict()
        self.bytes = 0
        self.ended: dict[str, float] = {}  # when to drop each stream, in order
        self.history = History(wall())

    def handle(self, message: ToEventBus) -> Replied | None:
        match message:
            case Publish(events):
                self.publish(events)
            case Chunks(sender):
                self.take_chunks(message)
                tell(sender, ChunksReady())
            case Subscribe():
                self.subscribe(message)
                return reply(message, True)
            case Attach(mailbox, task_id):
                self.attach(mailbox, task_id)
                return reply(message, True)
            case Unsubscribe(mailbox):
                self.unsubscribe(mailbox, "unsubscribed")
                return reply(message, True)
            case GetHistory():
                return reply(message, self.history.minutes(self.wall()))
            case GetThroughput():
                return reply(message, self.history.throughput(self.wall()))
            case CloseSubscriptions(reason):
                self.close_subscriptions(reason)
                return reply(message, True)
            case Wake():
                self.drop_old_streams()
            case _:
                assert_never(message)
        return None

    def on_close(self) -> None:
        self.close_subscriptions("restarted")

    # --- events ---------------------------------------------------------------------------------

    def subscribe(self, message: Subscribe) -> None:
        message.mailbox.since = self.seq
        self.subscribers[message.mailbox] = message
        for task_id in message.tasks or ():
            self.by_task.setdefault(task_id, set()).add(message.mailbox)

    def unsubscribe(self, mailbox: Mailbox[Any], reason: str) -> None:
        subscription = self.subscribers.pop(mailbox, None)
        for task_id in (subscription.tasks if subscription else None) or ():
            _discard(self.by_task, task_id, mailbox)
        for task_id in [t for t, readers in self.readers.items() if mailbox in readers]:
            _discard(self.readers, task_id, mailbox)
        mailbox.close(reason)

    def publish(self, events: Iterable[EventRecord]) -> None:
        everything = [s for s in self.subscribers.values() if s.tasks is None]
        for event in cooperatively(events, self.yield_control):
            self.seq = max(self.seq, event.seq)
            self.history.take(event)
            recipients = list(everything)
            if event.task is not None and event.task.id in self.by_task:
                recipients += [self.subscribers[box] for box in self.by_task[event.task.id]]
            for subscription in recipients:
                if subscription.events is None or event.event in subscription.events:
                    self.deliver(subscription.mailbox, event)
            if event.task is not None and event.task.id in self.streams:
                self.follow(event)

    def deliver(self, mailbox: Mailbox[Any], item: EventRecord | Chunk) -> None:
        if not mailbox.put(item):
            self.unsubscribe(mailbox, "lagged")

    def close_subscriptions(self, reason: str) -> None:
        for mailbox in list(self.subscribers):
            self.unsubscribe(mailbox, reason)
        for readers in list(self.readers.values()):
            for reader in list(readers):
                self.unsubscribe(reader, reason)

    # --- streams --------------------------------------------------------------------------------

    def take_chunks(self, message: Chunks) -> None:
        """Keep the pieces for late readers and send them to current ones."""
        stream = self.streams.get(message.task_id)
        if stream is None or stream.attempt < message.attempt:
            stream = self.begin_stream(message.task_id, message.attempt)
        if stream.attempt > message.attempt:
            return  # of an older attempt
        size = sum(len(str(piece)) for piece in cooperatively(message.pieces, self.yield_control))
        self.free_buffers(message.task_id, stream, size)
        if not stream.overflowed:
            stream.pieces.extend(message.pieces)
            stream.size += size
            self.bytes += size
        for number, piece in enumerate(
            cooperatively(message.pieces, self.yield_control), message.first
        ):
            chunk = Chunk(f"{message.attempt}.{number}", piece)
            for reader in list(self.readers.get(message.task_id, ())):
                self.deliver(reader, chunk)

    def begin_stream(self, task_id: str, attempt: int) -> StreamBuffer:
        self.forget_stream(task_id)
        stream = self.streams[task_id] = StreamBuffer(attempt, [])
        return stream

    def free_buffers(self, task_id: str, stream: StreamBuffer, size: int) -> None:
        """Empty a stream that grows too large, and the oldest while all together are too large."""
        if stream.overflowed:
            return
        if stream.size + size > BUFFER_BYTES:
            self.empty(stream)
        while self.bytes + size > ALL_BUFFERS_BYTES:
            oldest = next(s for s in self.streams.values() if s.size or s is stream)
            self.empty(oldest)
            if oldest is stream:
                return

    def empty(self, stream: StreamBuffer) -> None:
        self.bytes -= stream.size
        stream.pieces, stream.size, stream.overflowed = [], 0, True

    def attach(self, mailbox: Mailbox[Chunk], task_id: str) -> None:
        self.readers.setdefault(task_id, set()).add(mailbox)
        stream = self.streams.get(task_id)
        if stream is not None:
            for number, piece in enumerate(cooperatively(stream.pieces, self.yield_control)):
                self.deliver(mailbox, Chunk(f"{stream.attempt}.{number}", piece))
                self.yield_control()

    def follow(self, event: EventRecord) -> None:
        """Keep the stream of a finished task for a while, for late readers."""
        assert event.task is not None
        if event.task.status.is_final:
            self.ended[event.task.id] = self.clock() + KEEP_S
            self.wake_at(self.clock() + KEEP_S)

    def drop_old_streams(self) -> None:
        now = self.clock()
        for task_id, due in list(self.ended.items()):
            if due > now:
                self.wake_at(due)
                return
            self.forget_stream(task_id)

    def forget_stream(self, task_id: str) -> None:
        self.ended.pop(task_id, None)
        stream = self.streams.pop(task_id, None)
        if stream is not None:
            self.bytes -= stream.size


def _discard(table: dict[str, set[Mailbox[Any]]], task_id: str, mailbox: Mailbox[Any]) -> None:
    boxes = table.get(task_id, set())
    boxes.discard(mailbox)
    if not boxes:
        table.pop(task_id, None)
