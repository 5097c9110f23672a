"""The streams of calls that other servers make: followed there once somebody reads them here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from ..core.messages import RelayBegun, RelayEnded
from ..core.model.events import EventRecord
from ..core.model.orders import AssignedCall, task_of_call
from ..core.model.tasks import Record
from .mailbox import Mailbox

END_PATIENCE_S = 5.0  # for the last pieces of a call whose end is known
OpenRelay = Callable[[AssignedCall, float], Callable[[], None]]
"""Begins to follow a call after so many seconds; returns what ends that, from any thread."""


class _Relay(Struct):
    call: AssignedCall
    abort: Callable[[], None]
    due: float | None = None  # the call has ended: its last pieces must come by then


class RelayedStreams:
    """Used by the EventBus alone. A reader of a task learns of its end after the last piece that
    can be had, and that some are missing (`RelayEnded`) before that."""

    def __init__(self, open_relay: OpenRelay) -> None:
        self._open = open_relay
        self._calls: dict[str, AssignedCall] = {}  # by task
        self._relays: dict[str, _Relay] = {}
        self._held: dict[str, list[tuple[Mailbox[Any], EventRecord]]] = {}

    def place(
        self,
        calls: Mapping[str, AssignedCall | None],
        readers: Mapping[str, Iterable[Mailbox[Any]]],
        now: float,
    ) -> None:
        """Note which server makes which call, by key; None: it has ended."""
        for key, call in calls.items():
            task_id = task_of_call(key)
            known, relay = self._calls.get(task_id), self._relays.get(task_id)
            if call is None:
                if known is not None and known.key == key:
                    del self._calls[task_id]
                if relay is not None and relay.call.key == key:
                    relay.due = now + END_PATIENCE_S
            elif known is None or known.run.attempt <= call.run.attempt:
                self._calls[task_id] = call
                if relay is not None and relay.call.run.attempt < call.run.attempt:
                    relay.abort()  # its end begins the next one
                for reader in readers.get(task_id, ()):
                    self.follow(task_id, reader)

    def follow(self, task_id: str, reader: Mailbox[Any]) -> None:
        """Follow the task's call for a new reader, if another server makes it."""
        call = self._calls.get(task_id)
        if call is not None and task_id not in self._relays:
            self._relays[task_id] = _Relay(call, self._open(call, 0.0))
        if task_id in self._relays:
            reader.put(RelayBegun(self._relays[task_id].call.run.attempt))

    def hold(self, event: EventRecord, task: Record, reader: Mailbox[Any]) -> bool:
        """Whether this event is kept back for a reader, until the relay of its attempt has
        ended."""
        task_id, relay = task.id, self._relays.get(task.id)
        if relay is None or relay.call.run.attempt < task.attempt:
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
        if relay is None or relay.call.run.attempt != message.attempt:
            return []
        del self._relays[task_id]
        for reader in readers:
            reader.put(message)
        call = self._calls.get(task_id)
        newer = call is not None and call.run.attempt > message.attempt
        if call is not None and readers and (newer or not message.is_complete):
            pause_s = 0.0 if newer else 1.0
            self._relays[task_id] = _Relay(call, self._open(call, pause_s))
            for reader in readers:
                reader.put(RelayBegun(call.run.attempt))
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
