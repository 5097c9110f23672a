"""Where doors find the actors of the current boot."""

import os
import threading

from msgspec import Struct

from ..base.actor import Ref
from ..base.inbox import check_process
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable


class Generation(Struct, frozen=True):
    """The actors of one boot, as far as doors talk to them."""

    scheduler: Ref
    persistence: Ref
    bus: Ref
    ticker: Ref
    prober: Ref


class Switchboard:
    """Doors ask here each time, and never keep a ref: a reboot replaces all of them."""

    def __init__(self) -> None:
        self._now: Generation | QueueError = Unavailable("the queue is not started")
        self._changed = threading.Condition()
        self._pid = os.getpid()

    def connect(self, generation: Generation) -> None:
        self._set(generation)

    def disconnect(self, error: QueueError) -> None:
        """Until the next `connect`, `current` raises `error`."""
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
        """The generation that follows `old`, for readers who wait a reboot out."""
        check_process(self._pid)
        with self._changed:
            self._changed.wait_for(
                lambda: self._now is not old and not isinstance(self._now, OutcomeUnknown), timeout
            )
        return self.current()
