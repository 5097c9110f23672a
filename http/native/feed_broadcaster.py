"""Tells all feeds what happens: one subscription, and each thing encoded once for all of them."""

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

import msgspec

from ...actors.api.views import shown
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.model.errors import QueueError, Unavailable
from ...actors.core.model.events import EventRecord
from ...actors.core.model.stats import QueueStats, Snapshot
from ...actors.core.model.tasks import Task
from ...actors.routines.steps import Leave
from .. import sse

log = logging.getLogger("ollama_queue")

AHEAD = 10_000  # events that the feeds have not been told yet
TOGETHER = 10  # feeds that are told at once; others have their turns in between
TURN_S = 1e-6  # a timer: zero would not look at the network
STATS_S = 1.0  # between two of them, at least
REBOOT_S = 0.05


class EventSource(Protocol):
    """Where the broadcaster hears of things: a queue in this process."""

    def listen(self, mailbox: Mailbox[Any]) -> Leave: ...

    def list_tasks(self) -> list[Task]: ...

    def get_queue_stats(self) -> QueueStats: ...


class FeedMessage:
    """What is told to many; however many take it, it is encoded once in each form."""

    def __init__(self, kind: str, item: Any, event: EventRecord | None = None) -> None:
        """`item` is encoded as a JSON object. `event`, if it is one, is for filters."""
        self.kind, self.event, self._item = kind, event, item

    @cached_property
    def data(self) -> bytes:
        return msgspec.json.encode(self._item)

    @cached_property
    def message(self) -> bytes:
        """For WebSockets."""
        return b'{"type":"%b",' % self.kind.encode() + self.data[1:]

    @cached_property
    def frame(self) -> bytes:
        """For server-sent events."""
        return sse.frame(self.kind, msgspec.Raw(self.data))


class Feed:
    """What one reader hears: a snapshot, each event behind it that it wants, and what others put.

    `events` and `tasks` may change; None is all of them. After a reboot of the actors another
    snapshot comes.
    """

    def __init__(
        self,
        broadcaster: "FeedBroadcaster",
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        size: int = 1000,
    ) -> None:
        self.events, self.tasks = events, tasks
        self._broadcaster = broadcaster
        self._outbox = Mailbox[Any](size)
        self._error: QueueError | None = None
        self._seen: dict[str, int] = {}  # what the snapshot knows of its tasks
        broadcaster.join(self)

    def take(self, timeout: float | None) -> list[Any]:
        """All that is here: `FeedMessage`, and what was put in. None of it after `timeout` seconds.

        Raises `Closed`, saying why nothing more comes, or what is wrong with the queue.
        """
        try:
            first = self._outbox.get(timeout)
        except TimeoutError:
            return []
        except Closed:
            if self._error is not None:
                raise self._error.again() from None
            raise
        return [first, *self._outbox.drain()]

    def put(self, item: Any) -> bool:
        """False once the reader has been too slow, or has gone."""
        return self._outbox.put(item)

    def close(self) -> None:
        self._broadcaster.leave(self)
        self._outbox.close("unsubscribed")

    # --- from the broadcaster ------------------------------------------------------------------

    def begin(self, snapshot: FeedMessage, seen: dict[str, int]) -> bool:
        self._seen = seen
        return self._outbox.put(snapshot)

    def hear(self, messages: Iterable[FeedMessage]) -> bool:
        """Take what it wants to hear. False once it has been too slow, or has gone."""
        return all(self._outbox.put(each) for each in messages if self._wants(each.event))

    def _wants(self, event: EventRecord | None) -> bool:
        if event is None:
            return True
        if self.events is not None and event.event not in self.events:
            return False
        if event.task is None:
            return self.tasks is None
        if self.tasks is not None and event.task.id not in self.tasks:
            return False
        return event.seq > self._seen.get(event.task.id, 0)

    def end(self, reason: str, error: QueueError | None = None) -> None:
        self._error = error
        self._outbox.close(reason)


class FeedBroadcaster:
    """Subscribes while there are feeds, and tells each of them how things stand before all else.

    It subscribes first and reads then; those who come meanwhile share the next reading. What it
    has read already is known by the `seq` of each task, since a list may be newer than the
    subscription: so no event is lost, and none comes twice. It is a thread of its own.
    """

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._newcomers: dict[Feed, None] = {}
        self._feeds: dict[Feed, None] = {}  # those that have their snapshot
        self._mailbox = Mailbox[Any]()
        self._is_running = False
        self._seq = 0  # of the newest event that was told
        self._stats_at, self._stats_told_at = math.inf, -math.inf

    def join(self, feed: Feed) -> None:
        with self._lock:
            self._newcomers[feed] = None
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, daemon=True).start()
        self._mailbox.put(_KNOCK)

    def leave(self, feed: Feed) -> None:
        with self._lock:
            self._newcomers.pop(feed, None)
            self._feeds.pop(feed, None)
            is_last = not (self._newcomers or self._feeds)
        if is_last:
            self._mailbox.put(_KNOCK)

    def _run(self) -> None:
        try:
            while self._is_wanted():
                self._attend()
        except Closed as closed:
            self._dismiss(closed.message)
        except QueueError as error:
            self._dismiss(error.message, error)
        except BaseException:
            log.exception("the feeds end")
            self._dismiss("the server has an error of its own; its log says more")
            raise

    def _is_wanted(self) -> bool:
        with self._lock:
            self._is_running = bool(self._newcomers or self._feeds)
            return self._is_running

    def _dismiss(self, reason: str, error: QueueError | None = None) -> None:
        with self._lock:
            feeds = [*self._newcomers, *self._feeds]
            self._newcomers, self._feeds, self._is_running = {}, {}, False
        for feed in _in_turns(feeds):
            feed.end(reason, error)

    def _attend(self) -> None:
        """One subscription, until nobody listens or the actors start anew.

        Raises `Closed` where nothing more comes, and `Unavailable`.
        """
        mailbox = self._mailbox = Mailbox[Any](AHEAD)
        leave = self._source.listen(mailbox)
        with self._lock:
            self._newcomers |= self._feeds
            self._feeds = {}
        self._seq = mailbox.since
        try:
            while self._newcomers or self._feeds:
                self._next(mailbox)
        except Closed as closed:
            if closed.message != "restarted":
                raise
        except Unavailable:  # a reboot: `listen` waits for its end, or knows better
            time.sleep(REBOOT_S)
        finally:
            leave()

    def _next(self, mailbox: Mailbox[Any]) -> None:
        if self._newcomers:
            self._welcome()
        wait = None if self._stats_at == math.inf else max(0.0, self._stats_at - time.monotonic())
        with suppress(TimeoutError):
            items = [mailbox.get(wait), *mailbox.drain()]
            if events := [item for item in items if isinstance(item, EventRecord)]:
                self._broadcast([FeedMessage("event", shown(event), event) for event in events])
                self._seq = max(self._seq, events[-1].seq)
                self._stats_at = min(self._stats_at, self._stats_told_at + STATS_S)
        if time.monotonic() >= self._stats_at:
            self._stats_at, self._stats_told_at = math.inf, time.monotonic()
            self._broadcast([FeedMessage("stats", {"stats": self._source.get_queue_stats()})])

    def _welcome(self) -> None:
        newcomers, seq = tuple(self._newcomers), self._seq
        tasks = self._source.list_tasks()
        stats = self._source.get_queue_stats()  # behind the tasks: never older than they
        snapshot = FeedMessage("snapshot", Snapshot(seq, stats, tasks))
        seen = {task.id: task.seq for task in tasks}
        for feed in _in_turns(newcomers):
            with self._lock:
                if feed not in self._newcomers:
                    continue  # it has gone
                del self._newcomers[feed]
                self._feeds[feed] = None
            feed.begin(snapshot, seen)

    def _broadcast(self, messages: list[FeedMessage]) -> None:
        for feed in _in_turns(tuple(self._feeds)):
            if not feed.hear(messages):
                self.leave(feed)


def _in_turns(feeds: Iterable[Feed]) -> Iterator[Feed]:
    """The feeds; all who wake them would otherwise run before anybody else has a turn."""
    for number, feed in enumerate(feeds, 1):
        yield feed
        if number % TOGETHER == 0:
            time.sleep(TURN_S)


_KNOCK = object()  # look who has come or gone
