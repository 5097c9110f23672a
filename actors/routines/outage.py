"""How long to wait for an unavailable queue before giving up."""

OUTAGE_PATIENCE_S = 30.0  # waits, streams and callbacks survive a restart of the queue
PAUSE_S = 0.2  # between two attempts to reach it


class Outage:
    """Measures how long the queue has been unavailable. `now` is in seconds, monotonic."""

    def __init__(self, patience_s: float = OUTAGE_PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    @property
    def is_over(self) -> bool:
        return self._since is None

    def end(self) -> None:
        """Record that the queue has answered."""
        self._since = None

    def is_too_long(self, now: float) -> bool:
        """Record that it is unavailable; True if it has been for `patience_s` seconds."""
        if self._since is None:
            self._since = now
        return now - self._since >= self._patience_s
