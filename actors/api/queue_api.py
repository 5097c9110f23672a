"""The verbs of a queue, the same on `QueueManager` (embedded) and `Client` (over HTTP)."""

import queue
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from ..core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask, Tasks
from ..core.intake.bulk import BulkResult, Filter
from ..core.model.crons import Cron, IfExists, NewCron
from ..core.model.stats import BackendState, Minute, QueueStats
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import (
    Batch,
    BatchSubmitted,
    Chunk,
    Priority,
    Status,
    Submitted,
    Task,
    TaskResult,
)
from .subscription import Subscription
from .task_stream import TaskStream


class CronAPI(Protocol):
    """The verbs of crons. All of them raise `QueueError`: `NotFound` for an unknown id."""

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        """Take on a cron and return its id, once it is on disk. Raises `Invalid`.

        Where there is a cron of this name, `if_exists` says what to do; both ways its id is
        returned. "update": it becomes what is given, with the usual values for all that is not, but
        stays switched on or off unless `enabled` is given, and keeps its runs; raises `Conflict`
        when several have the name. "keep": it stays as it is; of several, the oldest is meant.
        "error": raises `Conflict`. None, as if there were none, makes another one.
        """
        ...

    def list_cron_tasks(self) -> list[Cron]:
        """The oldest first."""
        ...

    def get_cron_task(self, cron_id: OfCron) -> Cron: ...

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        """Change the fields given; those that only the queue sets are passed over."""
        ...

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        """Forget a cron; returns it as it was. Tasks that it has submitted stay."""
        ...

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        """Let it run by the clock, from now on."""
        ...

    def disable_cron_task(self, cron_id: OfCron) -> Cron: ...

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        """Run it once now, enabled or not; its next run stays.

        Raises `Conflict` when it may not overlap and a task of it lives, `QueueFull`.
        """
        ...


class BulkAPI(Protocol):
    """The verbs of many tasks at once: of up to 1,000 `ids`, or of a slice of 500 of those that a
    `filter` matches (as for `list_tasks`, the newest first; `{}` matches all).

    Where a filter names no status, it matches the tasks that the verb can be done to. What cannot
    be done to one task is told in the result and stops nothing. All raise `Invalid`.
    """

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult: ...

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult: ...

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult: ...

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        """A filter leaves out what has this priority already."""
        ...


class QueueAPI(CronAPI, BulkAPI, Protocol):
    """What the HTTP routes, the CLI and programs rely on. All verbs raise `QueueError`."""

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        """Take on a task; returns once it is on disk.

        The same key with the same task finds the first one again (`created` False); with
        another task it raises `Conflict`. Raises `Invalid`, `QueueFull`, `Unavailable`.
        """
        ...

    def submit_task(self, new: AnyTask) -> str:
        """Take on a task and return its id."""
        ...

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        """Take on all tasks or none; returns once all are on disk. Raises as `submit`, naming
        the task that is wrong: `tasks[3].model: …`."""
        ...

    def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """Take on all tasks or none, and `wait_batch`."""
        ...

    def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """The results of a batch once all of its tasks have ended, in the order given.

        `on_progress(done, total)` is called where this waits: at the start, and whenever it is
        heard that more have ended. A task that was deleted meanwhile has an `error`; of a batch
        that is given by its id, those deleted before are left out. Raises `NotFound`, and
        `BatchTimeout` after `timeout` seconds: the tasks go on. That, and a `QueueError` that ends
        the wait, has the batch's `batch_id` and `task_ids`.
        """
        ...

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> Generator[TaskResult, None, None]:
        """The results of up to 1,000,000 tasks, each as it ends, those that have ended first.

        One that was deleted has an `error`. Raises `TimeoutError` when not all have ended
        `timeout` seconds after the call: they go on.
        """
        ...

    def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        """Take on a task that runs at `at` (aware), or now if that is past."""
        ...

    def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """Take on all tasks or none; returns their ids once they are on disk.

        `callback` is called once all have ended, as in `submit_task_with_callback`, with their
        results in the order given.
        """
        ...

    def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """As `submit_batch_tasks_async`; the tasks run at `at` (aware), or now if that is past."""
        ...

    def get_batch(self, batch_id: OfBatch) -> Batch: ...

    def list_batches(self, limit: int = 100) -> list[Batch]:
        """The newest first."""
        ...

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        """The whole task. With `wait`, once it has ended or `wait` seconds have passed."""
        ...

    def get_task_status(self, task_id: OfTask) -> Status: ...

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        """The task once it has ended; raises `TimeoutError` after `timeout` seconds."""
        ...

    def cancel_task(self, task_id: OfTask) -> Task:
        """Cancel a pending or running task. Raises `NotFound`, `Conflict` when it has ended."""
        ...

    def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        """Change the priority of a pending or running task (for its next attempt)."""
        ...

    def retry_task(self, task_id: OfTask) -> Task:
        """Run a failed or cancelled task anew: its retries and errors begin at nothing.

        Raises `NotFound`, `Conflict` when it is completed or has not ended.
        """
        ...

    def delete_task(self, task_id: OfTask) -> Task:
        """Forget an ended task; returns it as it was. Raises `NotFound`, `Conflict`."""
        ...

    def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        """One page of a list, and the cursor of the next; may be shorter than its `limit` where
        few tasks fit a filter. Raises `Invalid`, naming the field."""
        ...

    def list_tasks(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> list[Task]:
        """Newest first, without payloads and results unless the filter says otherwise; up to its
        `limit`, however many pages that takes. Raises `Invalid`, naming the field."""
        ...

    def get_queue_stats(self) -> QueueStats: ...

    def get_history(self) -> list[Minute]:
        """What happened in each minute of the last hour, the oldest first.

        It begins with the queue's start: what was before it is not told.
        """
        ...

    def list_backends(self) -> list[BackendState]:
        """The model servers, in the order of the configuration."""
        ...

    def drain_backend(self, name: str) -> BackendState:
        """Give a backend no more calls; those that run go on. Survives a restart.

        Raises `NotFound`.
        """
        ...

    def resume_backend(self, name: str) -> BackendState:
        """Give it calls again. Raises `NotFound`."""
        ...

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        """The reply piece by piece, each once and in order; the last `Chunk` is `done`.

        Works while the task waits, runs, or has ended. A `restart` chunk takes back what came
        before it. Raises `TimeoutError` after `timeout` seconds of silence. A stream that is left
        early is closed with `contextlib.closing`.
        """
        ...

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> TaskStream:
        """Take on a task, and `stream_task` it. The generator has its `task_id`.

        Leaving it before its last chunk (`close`, `break`, an error) leaves the task as it is; with
        `cancel_on_close` it is cancelled.
        """
        ...

    def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        """Take on a task; `callback` is called once it has ended, in a thread of its own.

        All callbacks run in that one thread, in the order in which their tasks end. An exception
        in one is logged.
        """
        ...

    def submit_task_with_channel(
        self,
        new: AnyTask,
        channel: "queue.Queue[TaskResult] | queue.SimpleQueue[TaskResult]",
    ) -> str:
        """Take on a task; its result is put into `channel` once it has ended.

        Where that is full, results wait until it is read, and hold nothing else up.
        """
        ...

    def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        """Have `callback` called once a task has ended, or now if it has: as
        `submit_task_with_callback`, beside the callbacks that it has. Raises `NotFound`."""
        ...

    def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> Subscription:
        """The queue's events from now on: all, or those named, of all tasks or those named."""
        ...

    def unsubscribe(self, subscription: Subscription) -> None: ...

    def pause(self) -> None:
        """Stop dispatching; running tasks finish. Survives a restart."""
        ...

    def resume(self) -> None: ...

    def close(self) -> None: ...
