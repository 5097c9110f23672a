"""The verbs of a queue, the same on `QueueManager` (embedded) and `Client` (over HTTP)."""

from typing import Protocol

from ollama_queue.actors.core.records import (
    NewTask,
    Priority,
    QueueStats,
    Status,
    Submitted,
    Task,
    TaskFilter,
)


class QueueAPI(Protocol):
    """What the HTTP routes, the CLI and programs rely on. All verbs raise `QueueError`."""

    def submit(self, new: NewTask, *, idempotency_key: str | None = None) -> Submitted:
        """Take on a task; returns once it is on disk.

        The same key with the same task finds the first one again (`created` False); with
        another task it raises `Conflict`. Raises `Invalid`, `QueueFull`, `Unavailable`.
        """
        ...

    def submit_task(self, new: NewTask) -> str:
        """Take on a task and return its id."""
        ...

    def get_task(self, task_id: str, *, wait: float | None = None) -> Task:
        """The whole task. With `wait`, once it has ended or `wait` seconds have passed."""
        ...

    def get_task_status(self, task_id: str) -> Status: ...

    def wait(self, task_id: str, *, timeout: float | None = None) -> Task:
        """The task once it has ended; raises `TimeoutError` after `timeout` seconds."""
        ...

    def cancel_task(self, task_id: str) -> Task:
        """Cancel a pending or running task. Raises `NotFound`, `Conflict` when it has ended."""
        ...

    def update_task_priority(self, task_id: str, priority: int | Priority | str) -> Task:
        """Change the priority of a pending or running task (for its next attempt)."""
        ...

    def retry_task(self, task_id: str) -> Task:
        """Run a failed or cancelled task anew: its retries and errors begin at nothing.

        Raises `NotFound`, `Conflict` when it is completed or has not ended.
        """
        ...

    def delete_task(self, task_id: str) -> Task:
        """Forget an ended task; returns it as it was. Raises `NotFound`, `Conflict`."""
        ...

    def list_tasks(self, filter: TaskFilter | None = None) -> list[Task]:
        """Newest first, without payloads and results."""
        ...

    def get_queue_stats(self) -> QueueStats: ...

    def pause(self) -> None:
        """Stop dispatching; running tasks finish. Survives a restart."""
        ...

    def resume(self) -> None: ...

    def close(self) -> None: ...
