"""How long the queue may be away before whoever waits for it gives up."""

OUTAGE_PATIENCE_S = 30.0  # a wait, a stream and callbacks outlive a restart of the queue
PAUSE_S = 0.2  # between two tries to reach it


class Outage:
    """Since when the queue is away, as far as is known; `now` is on a clock that is never set."""

    def __init__(self, patience_s: float = OUTAGE_PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    @property
    def is_over(self) -> bool:
        return self._since is None

    def end(self) -> None:
        """The queue has answered."""
        self._since = None

    def is_too_long(self, now: float) -> bool:
        """It is away now: has it been for too long?"""
        if self._since is None:
            self._since = now
        return now - self._since >= self._patience_s
