"""The streams of calls that other servers make: followed there once somebody reads them here."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct

from ..core.messages import CallsPlaced, RelayBegun, RelayEnded
from ..core.model.events import EventRecord
from ..core.model.orders import LEADER, PlacedCall, placed_call
from ..core.model.tasks import Record, Status
from .mailbox import Mailbox

END_PATIENCE_S = 5.0  # for the last pieces of a call whose end is known
BROKEN_S = 1.0  # before a relay that broke begins anew
LATE_S, MOST_LATE = 50.0, 10_000  # how long, and of how many calls, pieces can be had afterwards
MOST_TOLD = 1_000  # of these that another server is told of when it begins to listen
OpenRelay = Callable[[PlacedCall, float], Callable[[], None]]
"""Begins to follow a call after so many seconds; returns what ends that, from any thread."""
Readers = Mapping[str, Iterable[Mailbox[Any]]]


class _Relay(Struct):
    call: PlacedCall
    abort: Callable[[], None]
    due: float | None = None  # the call has ended: its last pieces must come by then
    is_left: bool = False  # nobody reads it: it was aborted


class _Late(Struct):
    """A call that has ended. `is_here`: its pieces are kept by the EventBus."""

    call: PlacedCall
    until: float  # by the clock: its server may keep its pieces for so long
    is_here: bool


class RelayedStreams:
    """Used by the EventBus alone. A reader of a task learns of its end after the last piece that
    can be had, and that some are missing (`RelayEnded`) before that.

    Knows all calls that are made: those that were placed, and the leader's own, which are all
    others. `leads`: these are made here, and need no relay.
    """

    def __init__(self, open_relay: OpenRelay, *, leads: bool) -> None:
        self._open, self._leads = open_relay, leads
        self._calls: dict[str, PlacedCall] = {}  # by task
        self._over: dict[str, _Late] = {}  # by task
        self._relays: dict[str, _Relay] = {}
        self._held: dict[str, list[tuple[Mailbox[Any], EventRecord]]] = {}

    def place(self, news: CallsPlaced, readers: Readers, now: float) -> None:
        """Note which server makes which call."""
        for key in news.ended:
            self._end(placed_call(key), now)
        if news.are_all:
            gone = {call.key for call in self._calls.values()}.difference(news.placed)
            for key in gone:
                self._end(placed_call(key), now)
        for key, left_s in news.late:
            call = placed_call(key)
            known = self._over.get(call.task_id)
            if call.task_id not in self._calls and (known is None or known.call != call):
                self._note_late(_Late(call, now + left_s, is_here=False), now)
        for key in news.placed:
            self._begin(placed_call(key), readers)

    def take(self, task: Record, readers: Readers, now: float) -> bool:
        """Note what an event says of the leader's own calls: where another one is made was said
        before. Returns whether `next_due` may have changed."""
        known = self._calls.get(task.id)
        if task.status is not Status.RUNNING:
            if known is not None and known.server == LEADER:
                return self._end(known, now)
        elif known is None or known.attempt < task.attempt:
            self._begin(PlacedCall(LEADER, task.id, task.attempt), readers)
        return False

    def all_calls(self, now: float) -> CallsPlaced:
        late = ((each.call.key, each.until - now) for each in reversed(self._over.values()))
        return CallsPlaced(
            tuple(call.key for call in self._calls.values()),
            are_all=True,
            late=tuple(each for each in islice(late, MOST_TOLD) if each[1] > 0)[::-1],
        )

    def _begin(self, call: PlacedCall, readers: Readers) -> None:
        known, relay = self._calls.get(call.task_id), self._relays.get(call.task_id)
        if known is not None and known.attempt > call.attempt:
            return
        self._calls[call.task_id] = call
        if relay is not None and relay.call.attempt < call.attempt:
            relay.abort()  # its end begins the next one
        self._over.pop(call.task_id, None)
        for reader in readers.get(call.task_id, ()):
            self.follow(call.task_id, reader, 0.0)

    def _end(self, call: PlacedCall, now: float) -> bool:
        """Returns whether its relay has to end now."""
        if self._calls.get(call.task_id) == call:
            is_here = self._elsewhere(call.task_id) is None
            self._note_late(_Late(call, now + LATE_S, is_here), now)
            del self._calls[call.task_id]
        relay = self._relays.get(call.task_id)
        if relay is None or relay.call != call:
            return False
        relay.due = now + END_PATIENCE_S
        return True

    def _note_late(self, late: _Late, now: float) -> None:
        self._over[late.call.task_id] = late
        while self._over and (
            len(self._over) > MOST_LATE or next(iter(self._over.values())).until < now
        ):
            del self._over[next(iter(self._over))]

    def follow(self, task_id: str, reader: Mailbox[Any], now: float) -> None:
        """Follow the task's call for a new reader, if another server makes it, or did of late."""
        call, due = self._elsewhere(task_id), None
        late = self._over.get(task_id)
        if late is not None and not late.is_here and now < late.until:
            call, due = late.call, now + END_PATIENCE_S
        if call is not None and task_id not in self._relays:
            self._relays[task_id] = _Relay(call, self._open(call, 0.0), due)
        if task_id in self._relays:
            reader.put(RelayBegun(self._relays[task_id].call.attempt))

    def _elsewhere(self, task_id: str) -> PlacedCall | None:
        """The task's call, if another server makes it."""
        call = self._calls.get(task_id)
        return None if self._leads and call is not None and call.server == LEADER else call

    def leave(self, task_id: str) -> None:
        """End the relay of a task that nobody reads any more."""
        relay = self._relays.get(task_id)
        if relay is not None:
            relay.is_left = True
            relay.abort()

    def hold(self, event: EventRecord, task: Record, reader: Mailbox[Any]) -> bool:
        """Whether this event is kept back for a reader, until the relay of its attempt has
        ended."""
        task_id, relay = task.id, self._relays.get(task.id)
        if relay is None or relay.call.attempt < task.attempt:
            return False
        self._held.setdefault(task_id, []).append((reader, event))
        return True

    def ended(
        self, message: RelayEnded, readers: Iterable[Mailbox[Any]]
    ) -> list[tuple[Mailbox[Any], EventRecord]]:
        """Take in the end of a relay. Returns the events that were kept back. One that broke while
        its call goes on begins anew, if it has readers."""
        task_id, readers = message.task_id, list(readers)
        relay = self._relays.get(task_id)
        if relay is None or relay.call.attempt != message.attempt:
            return []
        del self._relays[task_id]
        if message.is_complete and task_id in self._over:
            self._over[task_id].is_here = True
        for reader in readers:
            reader.put(message)
        call = self._elsewhere(task_id)
        newer = call is not None and call.attempt > message.attempt
        if call is not None and readers and (newer or not message.is_complete):
            pause_s = 0.0 if newer or relay.is_left else BROKEN_S
            self._relays[task_id] = _Relay(call, self._open(call, pause_s))
            for reader in readers:
                reader.put(RelayBegun(call.attempt))
            return []
        return self._held.pop(task_id, [])

    def abort_late(self, now: float) -> None:
        """End the relays of calls that ended long enough ago."""
        for relay in self._relays.values():
            if relay.due is not None and relay.due <= now:
                relay.due = None
                relay.abort()

    @property
    def next_due(self) -> float | None:
        return min((r.due for r in self._relays.values() if r.due is not None), default=None)

    def close(self) -> None:
        for relay in self._relays.values():
            relay.abort()
