"""A subscription to the queue's events that survives a restart of the queue."""

from collections.abc import Collection
from typing import Any

from ..base.mailbox import Closed
from ..core.intake import arguments
from ..core.intake.arguments import Tasks
from ..core.model.errors import Unavailable
from .outage import OUTAGE_PATIENCE_S
from .steps import Listen, Now, Receive, Release, Routine, Source


class Hearing:
    """Events from `begin` on. `events` and `tasks` select them; None means all."""

    def __init__(self, events: Collection[str] | None, tasks: Tasks | None) -> None:
        """Raises `Invalid`."""
        self._events, self._tasks = arguments.events(events), arguments.watched(tasks)
        self._source: Source
        self._is_closed = False

    def begin(self) -> Routine[None]:
        """Subscribe. Raises `Unavailable`."""
        self._source = yield from Listen(self._events, self._tasks)

    def get(self, timeout: float | None) -> Routine[Any]:
        """Return the next event. Raises `TimeoutError` after `timeout` seconds, or `Closed`."""
        timeout = arguments.seconds(timeout, "timeout")
        deadline = None if timeout is None else (yield from Now()) + timeout
        while True:
            left = None if deadline is None else deadline - (yield from Now())
            try:
                return (yield from Receive(self._source, left))
            except TimeoutError:
                raise arguments.late("nothing came", timeout) from None
            except Closed as closed:
                if self._is_closed or closed.message != "restarted":
                    raise
            yield from self._begin_anew(deadline)

    def _begin_anew(self, deadline: float | None) -> Routine[None]:
        left = OUTAGE_PATIENCE_S if deadline is None else deadline - (yield from Now())
        patience = min(max(left, 0.0), OUTAGE_PATIENCE_S)
        try:
            self._source = yield from Listen(self._events, self._tasks, patience)
        except Unavailable:
            if left < OUTAGE_PATIENCE_S:
                raise TimeoutError("the queue is unavailable") from None
            raise
        if self._is_closed:
            yield from self.close()

    def close(self) -> Routine[None]:
        self._is_closed = True
        self._source.close()
        yield from Release(self._source)
