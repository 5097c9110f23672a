"""Limits how much can wait at once."""

from ..model.errors import QueueFull
from .waiting import WaitingRoom


class Capacity:
    """Up to `max_tasks` tasks and `max_bytes` of specs can wait; batches reserve theirs first."""

    def __init__(self, waiting: WaitingRoom, max_tasks: int, max_bytes: int) -> None:
        self._waiting = waiting
        self._max_tasks, self._max_bytes = max_tasks, max_bytes
        self._tasks = self._bytes = 0  # reserved

    def check(self, tasks: int, size: int) -> None:
        """Raise `QueueFull` if `tasks` more tasks of `size` bytes would exceed a limit."""
        full = None
        held = self._waiting.bytes + self._bytes
        if len(self._waiting) + self._tasks + tasks > self._max_tasks:
            full = f"at most {self._max_tasks} tasks may wait (queue.max_queue_size)"
        elif held and held + size > self._max_bytes:  # an empty queue accepts a task of any size
            full = f"at most {self._max_bytes} bytes may wait (queue.max_queue_bytes)"
        if full:
            raise QueueFull(f"the queue is full: {full}", retry_after_s=5)

    def reserve(self, tasks: int, size: int) -> None:
        """Reserve capacity for tasks that will wait soon. Raises `QueueFull`."""
        self.check(tasks, size)
        self._tasks += tasks
        self._bytes += size

    def release(self, tasks: int, size: int) -> None:
        """Release a reservation: its tasks now wait."""
        self._tasks -= tasks
        self._bytes -= size
