"""Publishes committed events to subscribers, and chunks of running tasks to readers."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from itertools import chain, islice
from typing import Any, TypeVar, assert_never

from msgspec import Struct

from .base.actor import Actor, Ref, Replied, reply, tell
from .base.cooperation import YieldControl, cooperatively, never_yield
from .base.mailbox import Mailbox
from .base.relayed_streams import OpenRelay, RelayedStreams
from .base.stream_log import StreamLog
from .core.activity.history import History
from .core.activity.measures import BusMeasures
from .core.messages import (
    AddHistory,
    CallsPlaced,
    CloseSubscriptions,
    Follow,
    GetHistory,
    GetThroughput,
    GetUsage,
    LendStream,
    MeasureBus,
    Publish,
    ReadHistory,
    ReadUsage,
    RelayEnded,
    ReturnStream,
    SaveHistory,
    StreamEnded,
    StreamGrew,
    Subscribe,
    ToEventBus,
    Unsubscribe,
    Wake,
)
from .core.model.errors import Unavailable
from .core.model.events import EventRecord
from .core.model.tasks import Record

T = TypeVar("T")
ALL_LOGS_BYTES = 64 << 20  # kept of all replies together
TOGETHER = 100  # events delivered at once
KEEP_S = 60.0  # how long a log outlives its task's end
SAVE_S = 10.0  # how long a count may be in memory only


class Stream(Struct):
    """The log of a task's newest attempt, and how many bytes are counted for it."""

    log: StreamLog
    counted: int = 0


class EventBus(Actor):
    """Never waits for a subscriber: closes one that cannot keep up, as `lagged`."""

    def __init__(
        self,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        yield_control: YieldControl = never_yield,
        make_relays: Callable[[Ref], OpenRelay] | None = None,
        follows: bool = False,
    ) -> None:
        """`make_relays` is for one server among several: it is called with this actor's ref. One
        that `follows` publishes what another server has, and keeps no history."""
        super().__init__(report, yield_control, clock)
        self.follows = follows
        self.relayed: RelayedStreams | None = None
        if make_relays is not None:
            self.relayed = RelayedStreams(make_relays(self.actor_ref), leads=not follows)
        self.lent: dict[str, set[LendStream]] = {}  # by task: to other buses of this server
        self.over: dict[str, int] = {}  # the last attempt of streams that are complete, by task
        self.wall = wall
        self.seq = 0  # of the newest published event
        self.closed: CloseSubscriptions | None = None  # what stays
        self.subscribers: dict[Mailbox[EventRecord], Subscribe] = {}
        self.unfiltered: dict[Mailbox[EventRecord], Subscribe] = {}  # those of all tasks
        self.place_watchers: set[Mailbox[Any]] = set()  # who hears where calls are made
        self.by_task: dict[str, set[Mailbox[EventRecord]]] = {}
        self.readers: dict[str, set[Mailbox[Any]]] = {}  # by task
        self.reading: dict[Mailbox[Any], str] = {}  # the task that each reads
        self.streams: OrderedDict[str, Stream] = OrderedDict()
        self.bytes = 0
        self.holding: OrderedDict[str, Stream] = OrderedDict()  # those that keep pieces
        self.ended: OrderedDict[str, float] = OrderedDict()  # when to drop each stream, in order
        self.history = History()
        self.persistence: Ref | None = None  # to save history; None while the disk is full
        self.save_due: float | None = None

    def handle(self, message: ToEventBus) -> Replied | None:
        match message:
            case Publish(events):
                self.publish(events)
            case StreamGrew(task_id, log):
                self.keep_stream(task_id, log)
                for lent in self.lent.get(task_id, ()):
                    tell(lent.to, message)
            case StreamEnded(task_id, attempt):
                self.over[task_id] = attempt
                for mailbox in self.readers.get(task_id, ()):
                    mailbox.put(message)
                for lent in self.lent.pop(task_id, ()):
                    tell(lent.to, RelayEnded(task_id, lent.attempt, lent.attempt <= attempt))
                self.keep_until_late(task_id)
            case LendStream():
                self.lend(message)
            case ReturnStream(lent):
                if lent in self.lent.get(lent.task_id, ()):
                    _discard(self.lent, lent.task_id, lent)
                    tell(lent.to, RelayEnded(lent.task_id, lent.attempt, is_complete=False))
            case CallsPlaced():
                self.place_calls(message)
            case RelayEnded(task_id):
                self.relay_ended(message)
            case Subscribe():
                self.subscribe(message)
                self.close_newcomers()
                return reply(message, True)
            case Follow(mailbox, task_id, events):
                self.subscribe(Subscribe(mailbox, events, frozenset({task_id})))
                self.follow(mailbox, task_id)
                self.close_newcomers()
                return reply(message, True)
            case Unsubscribe(mailbox):
                self.unsubscribe(mailbox, "unsubscribed")
                return reply(message, True)
            case SaveHistory(persistence):
                self.persistence = persistence
            case GetHistory(query):
                self.save_history()
                self.pass_on(self.reader(), ReadHistory(query), self.later(message))
            case GetUsage(usage_query):
                self.save_history()
                self.pass_on(self.reader(), ReadUsage(usage_query), self.later(message))
            case MeasureBus(listed):
                return reply(message, self.measures(listed))
            case GetThroughput():
                return reply(message, self.history.throughput(self.wall()))
            case CloseSubscriptions(reason, seq, but_readers, stays):
                self.seq = max(self.seq, seq)
                self.save_history()
                self.close_subscriptions(reason, but_readers=but_readers)
                if not stays:
                    self.closed = None
                elif self.closed is None or self.closed.but_readers:  # the wider one stays
                    self.closed = message
                return reply(message, True)
            case Wake():
                if self.relayed is not None:
                    self.relayed.abort_late(self.clock())
                    self.wake_at(self.relayed.next_due)
                self.drop_old_streams()
                self.save_history_in_time()
            case _:
                assert_never(message)
        return None

    def on_close(self) -> None:
        for lent in chain.from_iterable(self.lent.values()):
            tell(lent.to, RelayEnded(lent.task_id, lent.attempt, is_complete=False))
        if self.relayed is not None:
            self.relayed.close()
        self.close_subscriptions("restarted")

    # --- events ---------------------------------------------------------------------------------

    def subscribe(self, message: Subscribe) -> None:
        message.mailbox.since = self.seq
        self.subscribers[message.mailbox] = message
        if message.tasks is None:
            self.unfiltered[message.mailbox] = message
        if message.calls and self.relayed is not None:
            self.place_watchers.add(message.mailbox)
            message.mailbox.put(self.relayed.all_calls(self.clock()))
        for task_id in message.tasks or ():
            self.by_task.setdefault(task_id, set()).add(message.mailbox)

    def unsubscribe(self, mailbox: Mailbox[Any], reason: str) -> None:
        subscription = self.subscribers.pop(mailbox, None)
        self.unfiltered.pop(mailbox, None)
        self.place_watchers.discard(mailbox)
        for task_id in (subscription.tasks if subscription else None) or ():
            _discard(self.by_task, task_id, mailbox)
        followed = self.reading.pop(mailbox, None)
        if followed is not None:
            _discard(self.readers, followed, mailbox)
            if followed in self.streams:
                self.streams[followed].log.leave(mailbox)
            is_last = followed not in self.readers
            if self.relayed is not None and is_last and reason != "restarted":  # they come back
                self.relayed.leave(followed)
        mailbox.close(reason)

    def publish(self, events: Iterable[EventRecord]) -> None:
        """Deliver the events, many at once: a mailbox is locked, and its reader woken, for each
        delivery."""
        rest = iter(events)
        while block := list(islice(rest, TOGETHER)):
            for event in cooperatively(block, self.yield_control):
                self.seq = max(self.seq, event.seq)
                if not self.follows:
                    self.history.take(event)
                if event.task is not None:
                    self.note_call(event.task)
                    self.publish_to_task(event, event.task)
            for subscription in list(self.unfiltered.values()):
                self.deliver(subscription, block)
        if not self.follows and self.save_due is None:
            self.save_due = self.clock() + SAVE_S
            self.wake_at(self.save_due)

    def publish_to_task(self, event: EventRecord, task: Record) -> None:
        """Deliver to the subscribers of this task only."""
        if task.id in self.by_task:
            for mailbox in list(self.by_task[task.id]):
                relayed = self.relayed if mailbox in self.reading else None
                if relayed is None or not relayed.hold(event, task, mailbox):
                    self.deliver(self.subscribers[mailbox], [event])
        if task.id in self.streams:
            self.expire(task)

    def note_call(self, task: Record) -> None:
        if self.relayed is not None and self.relayed.take(task, self.readers, self.clock()):
            self.wake_at(self.relayed.next_due)

    def place_calls(self, message: CallsPlaced) -> None:
        if self.relayed is None:
            return
        self.relayed.place(message, self.readers, self.clock())
        self.wake_at(self.relayed.next_due)
        for mailbox in list(self.place_watchers):
            if not mailbox.put(message):
                self.unsubscribe(mailbox, "lagged")

    def relay_ended(self, message: RelayEnded) -> None:
        if self.relayed is None:
            return
        readers = self.readers.get(message.task_id, ())
        for mailbox, event in self.relayed.ended(message, readers):
            if mailbox in self.subscribers:
                self.deliver(self.subscribers[mailbox], [event])
        stream = self.streams.get(message.task_id)
        if stream is not None and stream.log.attempt == message.attempt:
            if message.is_complete:
                self.keep_until_late(message.task_id)
            else:
                self.forget_stream(message.task_id)  # a late reader would take it for the whole

    def deliver(self, subscription: Subscribe, events: Collection[EventRecord]) -> None:
        names = subscription.events
        if names is not None:
            events = [event for event in events if event.event in names]
        if events and not subscription.mailbox.put_all(events):
            self.unsubscribe(subscription.mailbox, "lagged")

    def close_newcomers(self) -> None:
        """Send away who comes while no events arrive."""
        if self.closed is not None:
            self.close_subscriptions(self.closed.reason, but_readers=self.closed.but_readers)

    def close_subscriptions(self, reason: str, *, but_readers: bool = False) -> None:
        for mailbox in list(self.subscribers):
            if not (but_readers and mailbox in self.reading):
                self.unsubscribe(mailbox, reason)

    # --- history --------------------------------------------------------------------------------

    def reader(self) -> Ref:
        if self.persistence is None:
            raise Unavailable("the queue is starting", retry_after_s=1)
        return self.persistence

    def save_history(self) -> None:
        """Send Persistence what was counted since the last time."""
        self.save_due = None
        if self.history and self.persistence is not None:
            tell(self.persistence, AddHistory(self.history.unsaved()))

    def save_history_in_time(self) -> None:
        if self.save_due is None:
            return
        if self.save_due <= self.clock():
            self.save_history()
        else:
            self.wake_at(self.save_due)

    def measures(self, listed: frozenset[str]) -> BusMeasures:
        return BusMeasures(
            self.history.totals(listed),
            self.history.throughput(self.wall()),
            len(self.subscribers),
            len(self.streams),
            self.bytes,
        )

    # --- streams --------------------------------------------------------------------------------

    def keep_stream(self, task_id: str, log: StreamLog) -> None:
        """Keep the log of a task's newest attempt, within the memory for all of them."""
        stream = self.streams.get(task_id)
        if stream is not None and stream.log is not log:
            if stream.log.attempt > log.attempt:
                log.close()
                return
            stream.log.close()
            self.forget_stream(task_id)
            stream = None
        if stream is None:
            stream = self.streams[task_id] = Stream(log)
            for reader in cooperatively(list(self.readers.get(task_id, ())), self.yield_control):
                log.join(reader)
        self.count(stream)
        if stream.counted:
            self.holding[task_id] = stream
        if self.bytes > ALL_LOGS_BYTES:
            self.free_memory()

    def lend(self, message: LendStream) -> None:
        task_id, attempt = message.task_id, message.attempt
        if task_id in self.streams:
            tell(message.to, StreamGrew(task_id, self.streams[task_id].log))
        if self.over.get(task_id, 0) < attempt:
            self.lent.setdefault(task_id, set()).add(message)
        else:
            tell(message.to, RelayEnded(task_id, attempt, is_complete=True))

    def count(self, stream: Stream) -> None:
        counted = stream.log.reserved
        self.bytes += counted - stream.counted
        stream.counted = counted

    def free_memory(self) -> None:
        """Forget the oldest logs of finished tasks, and empty the oldest of running ones."""
        while self.bytes > ALL_LOGS_BYTES and self.holding:
            task_id, stream = self.holding.popitem(last=False)
            if task_id in self.ended:
                self.forget_stream(task_id)
            else:
                stream.log.empty()
                self.count(stream)
            self.yield_control()

    def follow(self, mailbox: Mailbox[Any], task_id: str) -> None:
        self.readers.setdefault(task_id, set()).add(mailbox)
        self.reading[mailbox] = task_id
        if task_id in self.streams:
            self.streams[task_id].log.join(mailbox)
        if task_id in self.over:
            mailbox.put(StreamEnded(task_id, self.over[task_id]))
        if self.relayed is not None:
            self.relayed.follow(task_id, mailbox, self.clock())
            self.wake_at(self.relayed.next_due)

    def expire(self, task: Record) -> None:
        """Keep the stream of a finished task for a while, for late readers."""
        if task.status.is_final:
            self.keep_until_late(task.id)

    def keep_until_late(self, task_id: str) -> None:
        self.ended[task_id] = self.clock() + KEEP_S
        self.ended.move_to_end(task_id)
        self.wake_at(self.clock() + KEEP_S)

    def drop_old_streams(self) -> None:
        now = self.clock()
        while self.ended:
            task_id, due = next(iter(self.ended.items()))
            if due > now:
                self.wake_at(max(due, now + 1.0))  # not once for each task
                return
            self.forget_stream(task_id)

    def forget_stream(self, task_id: str) -> None:
        self.ended.pop(task_id, None)
        self.holding.pop(task_id, None)
        self.over.pop(task_id, None)
        stream = self.streams.pop(task_id, None)
        if stream is not None:
            self.bytes -= stream.counted


def _discard(table: dict[str, set[T]], task_id: str, one: T) -> None:
    rest = table.get(task_id, set())
    rest.discard(one)
    if not rest:
        table.pop(task_id, None)
