"""Broadcasts events to all feeds: one subscription, and each message encoded only once."""

import logging
import math
import threading
import time
from collections.abc import Hashable, Iterable, Iterator
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

AHEAD = 10_000  # events not yet passed to the feeds
TOGETHER = 5  # feeds that hear of events before others get a turn
EVENTS_TOGETHER = 250  # of the 1,000 that a feed may be behind
REST_S = 2e-3  # after each five feeds: waking a reader and writing to it takes some 50 µs
TURN_S = 1e-6  # a timer: zero would not poll the network
STATS_S = 1.0  # minimum between two stats messages
REBOOT_S = 0.05


class EventSource(Protocol):
    """What the broadcaster reads from: a queue in this process."""

    def listen(self, mailbox: Mailbox[Any]) -> Leave: ...

    def list_tasks(self) -> list[Task]: ...

    def get_queue_stats(self) -> QueueStats: ...


class FeedView(Protocol):
    """What a feed's reader may see, if that is not everything."""

    @property
    def view(self) -> Hashable | None:
        """What tells views apart; None: this one sees everything."""

    def list_tasks(self) -> list[Task]: ...

    def get_queue_stats(self) -> QueueStats: ...

    def may_see_event(self, event: EventRecord) -> bool: ...


class FeedMessage:
    """A message for many feeds, encoded once in each form."""

    def __init__(self, kind: str, item: Any, event: EventRecord | None = None) -> None:
        """`item` is encoded as a JSON object. `event`, if it is one, is used for filtering."""
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
    """One reader's stream: a snapshot, each later event that its filter matches, and what is `put`.

    `events` and `tasks` may change; None means all. `view` limits what it shows. After a reboot of
    the actors another snapshot follows.
    """

    def __init__(
        self,
        broadcaster: "FeedBroadcaster",
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        size: int = 1000,
        view: FeedView | None = None,
    ) -> None:
        self.events, self.tasks = events, tasks
        self.view_key = None if view is None else view.view
        self.view = None if self.view_key is None else view
        self._broadcaster = broadcaster
        self._outbox = Mailbox[Any](size)
        self._error: QueueError | None = None
        self._seen: dict[str, int] = {}  # `seq` of each task in the snapshot
        broadcaster.join(self)

    def take(self, timeout: float | None) -> list[Any]:
        """All messages and items so far; waits for one, [] after `timeout` seconds.

        Raises `Closed` with the reason, or the queue's error.
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
        """Add an item; False once the reader was too slow or has left."""
        return self._outbox.put(item)

    def close(self) -> None:
        self._broadcaster.leave(self)
        self._outbox.close("unsubscribed")

    # --- from the broadcaster ------------------------------------------------------------------

    def begin(self, snapshot: FeedMessage, seen: dict[str, int]) -> bool:
        self._seen = seen
        return self._outbox.put(snapshot)

    def hear(self, messages: Iterable[FeedMessage]) -> bool:
        """Add the messages that its filter matches; False once it was too slow or has left."""
        wanted = [each for each in messages if self._wants(each.event)]
        return not wanted or self._outbox.put_all(wanted)

    def _wants(self, event: EventRecord | None) -> bool:
        if event is None:
            return True
        if self.view is not None and not self.view.may_see_event(event):
            return False
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
    """Subscribes while there are feeds; each feed starts with a snapshot.

    It subscribes first and then reads the snapshot; feeds that join meanwhile share the next one.
    A snapshot may be newer than the subscription, so events are compared with the `seq` of each of
    its tasks: no event is lost or sent twice. Runs in its own thread.

    Waking a reader and writing to it costs more than a message to it. So it rests between few
    readers, and what happens meanwhile is sent together: with 1,000 feeds, events come up to 0.5 s
    later, and others are served as before.
    """

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._newcomers: dict[Feed, None] = {}
        self._feeds: dict[Feed, None] = {}  # feeds that have their snapshot
        self._mailbox = Mailbox[Any]()
        self._is_running = False
        self._seq = 0  # of the newest event sent
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
            log.exception("the event feeds crashed")
            self._dismiss("internal server error; see the server's log")
            raise

    def _is_wanted(self) -> bool:
        with self._lock:
            self._is_running = bool(self._newcomers or self._feeds)
            return self._is_running

    def _dismiss(self, reason: str, error: QueueError | None = None) -> None:
        with self._lock:
            feeds = [*self._newcomers, *self._feeds]
            self._newcomers, self._feeds, self._is_running = {}, {}, False
        for feed in _in_turns(feeds, rest_s=TURN_S):
            feed.end(reason, error)

    def _attend(self) -> None:
        """Serve one subscription, until no feed is left or the actors restart.

        Raises `Closed` at the end of events, and `Unavailable`.
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
        except Unavailable:  # a reboot: the next `listen` waits for its end, or raises
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
                is_behind = len(events) > EVENTS_TOGETHER  # then there is no time to rest
                for start in range(0, len(events), EVENTS_TOGETHER):
                    some = events[start : start + EVENTS_TOGETHER]
                    messages = [FeedMessage("event", shown(event), event) for event in some]
                    self._broadcast(messages, rest_s=TURN_S if is_behind else REST_S)
                self._seq = max(self._seq, events[-1].seq)
                self._stats_at = min(self._stats_at, self._stats_told_at + STATS_S)
        if time.monotonic() >= self._stats_at:
            self._stats_at, self._stats_told_at = math.inf, time.monotonic()
            for view, feeds in _by_view(self._feeds):
                stats = (view or self._source).get_queue_stats()
                self._broadcast([FeedMessage("stats", {"stats": stats})], feeds)

    def _welcome(self) -> None:
        seq = self._seq
        for view, feeds in _by_view(self._newcomers):
            self._welcome_to(view or self._source, feeds, seq)

    def _welcome_to(self, source: EventSource | FeedView, newcomers: list[Feed], seq: int) -> None:
        tasks = source.list_tasks()
        stats = source.get_queue_stats()  # read after the tasks: never older than they are
        snapshot = FeedMessage("snapshot", Snapshot(seq, stats, tasks))
        seen = {task.id: task.seq for task in tasks}
        for feed in _in_turns(newcomers, 1, TURN_S):  # the snapshot may be large
            with self._lock:
                if feed not in self._newcomers:
                    continue  # it has left
                del self._newcomers[feed]
                self._feeds[feed] = None
            feed.begin(snapshot, seen)

    def _broadcast(
        self,
        messages: list[FeedMessage],
        feeds: list[Feed] | None = None,
        rest_s: float = REST_S,
    ) -> None:
        for feed in _in_turns(tuple(self._feeds) if feeds is None else feeds, rest_s=rest_s):
            if not feed.hear(messages):
                self.leave(feed)


def _by_view(feeds: Iterable[Feed]) -> list[tuple[FeedView | None, list[Feed]]]:
    """The feeds that show the same, with the view of each group."""
    groups: dict[Hashable, tuple[FeedView | None, list[Feed]]] = {}
    for feed in tuple(feeds):
        groups.setdefault(feed.view_key, (feed.view, []))[1].append(feed)
    return list(groups.values())


def _in_turns(
    feeds: Iterable[Feed], together: int = TOGETHER, rest_s: float = REST_S
) -> Iterator[Feed]:
    """The feeds, with pauses: else all their readers would run before anything else does."""
    for number, feed in enumerate(feeds, 1):
        yield feed
        if number % together == 0:
            time.sleep(rest_s)


_KNOCK = object()  # wakes the thread: a feed has joined or left
