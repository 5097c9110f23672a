"""The verbs of a queue, the same on `QueueManager` (embedded) and `Client` (over HTTP).

`AsyncClient` has them too, as coroutines. Their docstrings are written here, once, for all three.
"""

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
    """The verbs of crons. `cron_id` is a cron's id, or the `Cron`."""

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        """Add a cron; returns its id once it is on disk.

        `new` is a `NewCron` or a mapping of its fields. `if_exists` says what to do when there is
        a cron of that name; the id of that one is returned then:

        - "update": replace its fields by those of `new`, and by the defaults for all that `new`
          leaves out. It stays enabled or disabled unless `new` says `enabled`, and keeps its runs.
        - "keep": leave it as it is. Of several with the name the oldest is meant.
        - "error": raise `Conflict`.
        - None: add another one.

        Raises `Invalid`, naming the field, and `Conflict` when "update" finds several of the name.
        """
        ...

    def list_cron_tasks(self) -> list[Cron]:
        """Return all crons, the oldest first."""
        ...

    def get_cron_task(self, cron_id: OfCron) -> Cron:
        """Return the cron `cron_id`: its id, or a `Cron`. Raises `NotFound`."""
        ...

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        """Change the fields of a cron that `changes` gives; returns the cron as it is then.

        `cron_id` is its id, or the `Cron`; `changes` a mapping, a `NewCron` or a `Cron`.
        Fields that only the queue sets (`id`, `next_run`, `last_run` …) are ignored, so that a
        changed `Cron` may be given. Raises `NotFound`, and `Invalid`, naming the field.
        """
        ...

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        """Delete the cron `cron_id` (its id, or the `Cron`); returns it as it was.

        Tasks that it has submitted stay. Raises `NotFound`.
        """
        ...

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        """Let a cron run by the clock from now on; returns it, with its `next_run`.

        `cron_id` is its id, or the `Cron`. Raises `NotFound`.
        """
        ...

    def disable_cron_task(self, cron_id: OfCron) -> Cron:
        """Let a cron run no more until it is enabled; returns it.

        `cron_id` is its id, or the `Cron`. Tasks that it has submitted stay. Raises `NotFound`.
        """
        ...

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        """Submit the task of a cron now, whether it is enabled or not; its next run stays.

        `cron_id` is its id, or the `Cron`. Returns the task's id, status and position.
        Raises `NotFound`, `QueueFull`, and `Conflict` when its `overlap` is "skip" and a task of it
        has not ended.
        """
        ...


class BulkAPI(Protocol):
    """The verbs of many tasks at once."""

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Cancel many tasks that wait or run.

        Give either `ids`, 1 to 1,000 of them, or a `filter` as for `list_tasks`: it takes the
        newest 500 of the matching tasks that can be cancelled; `{}` matches all. Call again while
        the result has a `cursor`, with that as the filter's `cursor`. What cannot be done to one
        task is in the result's `errors` and stops nothing.

        Raises `Invalid`, naming the field.
        """
        ...

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Run many failed or cancelled tasks anew, each as `retry_task` does.

        `ids` or a `filter`, and the result, as for `cancel_tasks`. Raises `Invalid`.
        """
        ...

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Delete many tasks that have ended.

        `ids` or a `filter`, and the result, as for `cancel_tasks`. Raises `Invalid`.
        """
        ...

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        """Give many tasks that wait or run another `priority`, as `update_task_priority` does.

        `ids` or a `filter`, and the result, as for `cancel_tasks`; a filter leaves out tasks that
        have this priority already. Raises `Invalid`, naming the field.
        """
        ...


class QueueAPI(CronAPI, BulkAPI, Protocol):
    """A queue: what `QueueManager` and `Client` have in common, to be named in types.

    All verbs raise `QueueError`: beside what each names, `Unavailable` when the queue cannot answer
    and `Invalid`, with the argument's name as `field`, for an argument that is wrong. `task_id` is
    a task's id, or a record that has it; `new` a `NewTask`, or a mapping of its fields. Timeouts
    are seconds from 0 to a year, None waits forever.
    """

    # --- submit ---------------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        """Submit a task; returns its id, status and position once it is on disk.

        `new` is what `chat_task`, `generate_task` or `embed_task` made, or a mapping of its fields.
        With an `idempotency_key` (1 to 256 characters) the same task is submitted once: given
        again, the key finds the first one, and `created` is False.

        Raises `Invalid`, naming the field, `QueueFull`, `Unavailable`, and `Conflict` when the key
        was used for another task.
        """
        ...

    def submit_task(self, new: AnyTask) -> str:
        """Submit a task; returns its id once it is on disk. Raises as `submit`."""
        ...

    def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        """Submit a task that starts at `at` (an aware datetime) or soon after; returns its id.

        A time in the past means now. Raises as `submit`.
        """
        ...

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> TaskStream:
        """Submit a task and iterate over the `Chunk`s of its reply, as `stream_task` does.

        The iterator's `task_id` is the task's. Leaving it before its last chunk (`close`, `break`,
        an error) leaves the task running; with `cancel_on_close` the task is cancelled. Raises as
        `submit` and `stream_task`.
        """
        ...

    def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        """Submit a task and have `callback(result)` called once it has ended; returns its id.

        All callbacks run one after another, in the order in which their tasks end, in a thread of
        their own; with `AsyncClient` in an asyncio task, and they may be coroutine functions. An
        exception in one is logged. They outlive a restart of the queue, not of the program: see
        `on_end`. Raises as `submit`.
        """
        ...

    def submit_task_with_channel(
        self,
        new: AnyTask,
        channel: "queue.Queue[TaskResult] | queue.SimpleQueue[TaskResult]",
    ) -> str:
        """Submit a task and have its result put into `channel` once it has ended; returns its id.

        `channel` is a queue of the `queue` module, with `AsyncClient` an `asyncio.Queue`. While it
        is full, results wait in order and hold up nothing else. Raises as `submit`.
        """
        ...

    def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        """Have `callback(result)` called once a task has ended, or soon if it has already.

        As in `submit_task_with_callback`; a task may have several. Raises `NotFound`.
        """
        ...

    # --- batches --------------------------------------------------------------------------------

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        """Submit all tasks or none; returns the ids once all are on disk.

        `tasks` may be any iterable, also a generator. `idempotency_key` as in `submit`, for the
        batch. Raises as `submit`; the error names the task that is wrong: `tasks[3].model: …`.
        """
        ...

    def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """Submit all tasks or none, and wait for their results: `submit_batch`, then `wait_batch`.

        Raises as these do.
        """
        ...

    def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """Submit all tasks or none; returns their ids once they are on disk.

        `callback(results)` is called once all have ended, as in `submit_task_with_callback`, with
        the results in the order given. Raises as `submit_batch`.
        """
        ...

    def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """Submit all `tasks` or none, to start at `at` (an aware datetime) or soon after.

        A time in the past means now. Otherwise as `submit_batch_tasks_async`.
        """
        ...

    def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """Wait until all tasks of a batch have ended; returns their results in the order given.

        `batch_id` is an id, a `Batch`, or what `submit_batch` returned. `on_progress(done, total)`
        is called in the waiting thread, at the start and as tasks end; with `AsyncClient` it may be
        a coroutine function. A task that was deleted meanwhile has an `error`; of a batch given by
        its id, those deleted before are left out.

        Raises `NotFound`, and `BatchTimeout` after `timeout` seconds: the tasks go on. That, and a
        `QueueError` that ends the wait, has the batch's `batch_id` and `task_ids`.
        """
        ...

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> Generator[TaskResult, None, None]:
        """Iterate over the results of the tasks `ids` (at most 1,000,000), each as it ends.

        Those that have ended come first; one that was deleted has an `error`. Raises `TimeoutError`
        when not all have ended `timeout` seconds after the call: the tasks go on.
        """
        ...

    def get_batch(self, batch_id: OfBatch) -> Batch:
        """Return a batch: how many of its tasks wait, run, and have ended how.

        `batch_id` is an id, or what `submit_batch` returned.
        Raises `NotFound`, also once all of its tasks are deleted.
        """
        ...

    def list_batches(self, limit: int = 100) -> list[Batch]:
        """Return the newest batches, at most `limit` (1 to 1,000), the newest first."""
        ...

    # --- one task -------------------------------------------------------------------------------

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        """Return a task with its payload and result.

        With `wait` (seconds, 0 to 3,600) it returns once the task has ended or that time is over,
        whichever comes first. Raises `NotFound`.
        """
        ...

    def get_task_status(self, task_id: OfTask) -> Status:
        """Return a task's status. Raises `NotFound`."""
        ...

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        """Wait until a task has ended; returns it, with its result.

        Outlives a restart of the queue. Raises `NotFound`, and `TimeoutError` after `timeout`
        seconds: the task goes on.
        """
        ...

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        """Iterate over a task's reply, `Chunk` by `Chunk`, each once and in order.

        Works while the task waits, runs, or has ended. The last chunk is `done` and has the task's
        `status`; one with `restart` takes back all that came before it. Close a stream that is left
        early, with `contextlib.closing` (`AsyncClient`: `aclosing`).

        Raises `NotFound`, and `TimeoutError` after `timeout` seconds without a chunk.
        """
        ...

    def cancel_task(self, task_id: OfTask) -> Task:
        """Cancel a task that waits or runs; returns it.

        Raises `NotFound`, and `Conflict` when it has ended.
        """
        ...

    def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        """Give a task another `priority`: 1 to 15, or "low", "normal", "high", "critical".

        Of a running task it is that of its next attempt. Returns the task. Raises `Invalid`,
        `NotFound`, and `Conflict` when it has ended.
        """
        ...

    def retry_task(self, task_id: OfTask) -> Task:
        """Run a failed or cancelled task anew, with all of its retries; returns it.

        Raises `NotFound`, and `Conflict` when it is completed or has not ended.
        """
        ...

    def delete_task(self, task_id: OfTask) -> Task:
        """Delete a task that has ended; returns it as it was.

        Raises `NotFound`, and `Conflict` when it has not ended.
        """
        ...

    # --- lists ----------------------------------------------------------------------------------

    def list_tasks(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> list[Task]:
        """Return tasks, the newest first, up to the filter's `limit` (1 to 1,000; 100 by default).

        `filter` is a `TaskFilter` or a mapping of its fields, such as `{"status": ["failed"],
        "tag": "nightly"}`; None matches all. Tasks come without payload and result unless the
        filter includes them. Raises `Invalid`, naming the field.
        """
        ...

    def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        """Return one page of a list, as `list_tasks`, with the `cursor` of the next.

        A page may be shorter than the `limit` although there are more: go on until `cursor` is
        None. Raises `Invalid`, naming the field.
        """
        ...

    # --- events ---------------------------------------------------------------------------------

    def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> Subscription:
        """Subscribe to the queue's events from now on; returns an iterator over them.

        `events` are names such as "task_completed", `tasks` up to 1,000 ids; None means all. Raises
        `Invalid` for a name that no event has.
        """
        ...

    def unsubscribe(self, subscription: Subscription) -> None:
        """End `subscription`: whoever iterates over it comes to the end."""
        ...

    # --- the queue ------------------------------------------------------------------------------

    def get_queue_stats(self) -> QueueStats:
        """Return how the queue is doing: tasks by status, why they wait, workers, backends."""
        ...

    def get_history(self) -> list[Minute]:
        """Return what happened in each minute of the last hour, the oldest first.

        It begins with the queue's start: what was before is not known.
        """
        ...

    def list_backends(self) -> list[BackendState]:
        """Return the model servers, in the order of the configuration."""
        ...

    def drain_backend(self, name: str) -> BackendState:
        """Start no more calls on a backend; those that run go on. Outlives a restart.

        `name` is the backend's in the configuration. Returns its state. Raises `NotFound`.
        """
        ...

    def resume_backend(self, name: str) -> BackendState:
        """Start calls on the backend `name` again; returns its state. Raises `NotFound`."""
        ...

    def pause(self) -> None:
        """Start no more tasks; those that run go on. Outlives a restart."""
        ...

    def resume(self) -> None:
        """Start tasks again after `pause`."""
        ...

    def close(self) -> None:
        """Close the queue or the connections to it, and end subscriptions and callbacks."""
        ...
