"""Who waits for the task of an idempotency key: it is cancelled when the last of them has left."""

from collections.abc import Callable
from threading import Lock

_joining = Lock()
_audiences: dict[str, "Audience"] = {}  # by task id, which no two queues share


class Audience:
    """The requests of this process that wait for one task.

    The task `ends_with_it` if one of them submitted it, and none wants it to continue.
    """

    def __init__(self) -> None:
        self._members = 0
        self._leaving = Lock()
        self.ends_with_it = False

    @classmethod
    def join(cls, task_id: str) -> "Audience":
        """Join those who wait for a task. If it is being cancelled, waits until that is done."""
        with _joining:
            audience = _audiences.setdefault(task_id, cls())
            audience._members += 1
        with audience._leaving:
            return audience

    def leave(self, task_id: str, cancel: Callable[[], None]) -> None:
        """Leave; calls `cancel` if nobody else waits and the task ends with its audience."""
        with self._leaving:
            with _joining:
                self._members -= 1
                is_last = self._members == 0
            try:
                if is_last and self.ends_with_it:
                    cancel()
            finally:
                with _joining:
                    if self._members == 0:
                        _audiences.pop(task_id, None)
