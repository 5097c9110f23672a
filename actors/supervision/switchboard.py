"""Gives callers outside the actors access to the current generation."""

import os
import threading

from msgspec import Struct

from ..base.actor import Ref
from ..base.inbox import check_process
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable


class Generation(Struct, frozen=True):
    """The actors of one boot that callers outside talk to."""

    scheduler: Ref
    persistence: Ref
    bus: Ref
    ticker: Ref
    prober: Ref
    batches: Ref
    webhooks: Ref


class Switchboard:
    """Looked up for each call; callers never keep a ref, as a reboot replaces all actors."""

    def __init__(self) -> None:
        self._now: Generation | QueueError = Unavailable("the queue is not started")
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self.boots = 0  # generations that were connected

    def connect(self, generation: Generation) -> None:
        self.boots += 1
        self._set(generation)

    def disconnect(self, error: QueueError) -> None:
        """Make `current` raise `error` until the next `connect`."""
        self._set(error)

    def _set(self, now: Generation | QueueError) -> None:
        with self._changed:
            self._now = now
            self._changed.notify_all()

    def current(self) -> Generation:
        check_process(self._pid)
        now = self._now
        if isinstance(now, QueueError):
            raise now.again()
        return now

    def after(self, old: Generation | None, timeout: float) -> Generation:
        """Wait for the generation after `old`, for readers that wait for the end of a reboot."""
        check_process(self._pid)
        with self._changed:
            self._changed.wait_for(
                lambda: self._now is not old and not isinstance(self._now, OutcomeUnknown), timeout
            )
        return self.current()
