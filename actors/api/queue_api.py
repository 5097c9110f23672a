"""The verbs of a queue, the same on `QueueManager` (embedded) and `Client` (over HTTP).

`AsyncClient` has them as coroutines. The docstrings here serve all three.
"""

import queue
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from ..core.activity.audit import AuditPage
from ..core.activity.failures import FailureGroup
from ..core.fleet.servers import FleetServer
from ..core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask, Tasks
from ..core.intake.bulk import BulkResult, Filter
from ..core.model.access_keys import KeyCreated, KeyInfo, NewKey
from ..core.model.crons import Cron, IfExists, NewCron
from ..core.model.deliveries import Delivery, DeliveryPage
from ..core.model.stats import BackendState, Period, QueueStats, StoreSnapshot, UsageReport
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
    """Verbs for crons. `cron_id` is a cron's id or a `Cron`."""

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        """Add a cron. Returns its id once it is on disk.

        `new` is a `NewCron` or a mapping of its fields. `if_exists` says what to do if a cron with
        the same name exists; "update" and "keep" return the existing cron's id:

        - "update": replace its fields with those of `new`; fields that `new` omits get their
          defaults. It stays enabled or disabled unless `new` sets `enabled`, and keeps its runs.
        - "keep": leave it unchanged. If several have the name, the oldest is used.
        - "error": raise `Conflict`.
        - None: add another cron with the same name.

        Raises `Invalid`, naming the field, and `Conflict` if "update" finds several crons with the
        name.
        """
        ...

    def list_cron_tasks(self) -> list[Cron]:
        """Return all crons, oldest first."""
        ...

    def get_cron_task(self, cron_id: OfCron) -> Cron:
        """Return a cron by `cron_id`, its id or a `Cron`. Raises `NotFound`."""
        ...

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        """Change the fields of a cron that `changes` contains. Returns the updated cron.

        `cron_id` is its id or a `Cron`; `changes` is a mapping, a `NewCron` or a `Cron`. Fields
        that only the queue sets (`id`, `next_run`, `last_run` …) are ignored, so you can pass a
        modified `Cron`. Raises `NotFound`, and `Invalid`, naming the field.
        """
        ...

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        """Delete a cron. Returns it as it was.

        `cron_id` is its id or a `Cron`. Tasks it has submitted are kept. Raises `NotFound`.
        """
        ...

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        """Enable a cron, so that it runs on schedule from now on. Returns it, with its `next_run`.

        `cron_id` is its id or a `Cron`. Raises `NotFound`.
        """
        ...

    def disable_cron_task(self, cron_id: OfCron) -> Cron:
        """Disable a cron, so that it does not run until it is enabled. Returns it.

        `cron_id` is its id or a `Cron`. Tasks it has submitted are kept. Raises `NotFound`.
        """
        ...

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        """Submit a cron's task now, even if the cron is disabled. Its next run is unchanged.

        `cron_id` is its id or a `Cron`. Returns the task's id, status and position.
        Raises `NotFound`, `QueueFull`, and `Conflict` if its `overlap` is "skip" and one of its
        tasks has not ended.
        """
        ...


class BulkAPI(Protocol):
    """Verbs that act on many tasks at once."""

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Cancel many waiting or running tasks.

        Pass either 1 to 1,000 `ids` or a `filter` as for `list_tasks`. A filter selects the newest
        500 matching tasks that can be cancelled; `{}` matches all. While the result has a `cursor`,
        call again with it as the filter's `cursor`. A task that cannot be cancelled is listed in
        the result's `errors`; the others are still cancelled.

        Raises `Invalid`, naming the field.
        """
        ...

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Retry many failed or cancelled tasks, each as `retry_task` does.

        `ids`, `filter` and the result are as for `cancel_tasks`. Raises `Invalid`, naming the
        field.
        """
        ...

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        """Delete many tasks that have ended.

        `ids`, `filter` and the result are as for `cancel_tasks`. Raises `Invalid`, naming the
        field.
        """
        ...

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        """Change the `priority` of many waiting or running tasks, as `update_task_priority` does.

        `ids`, `filter` and the result are as for `cancel_tasks`; a filter skips tasks that already
        have this priority. Raises `Invalid`, naming the field.
        """
        ...


class QueueAPI(CronAPI, BulkAPI, Protocol):
    """A queue: the interface of `QueueManager` and `Client`, for type annotations.

    All verbs raise `QueueError`. Besides the errors each one names, any may raise `Unavailable` if
    the queue cannot answer, and `Invalid` for a wrong argument, whose name is in `field`. `task_id`
    is a task's id or a record that has it; `new` is a `NewTask` or a mapping of its fields.
    Timeouts are in seconds, from 0 to a year; None waits forever.
    """

    # --- submit ---------------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        """Submit a task. Returns its id, status and position once it is on disk.

        `new` is the result of `chat_task`, `generate_task` or `embed_task`, or a mapping of its
        fields. An `idempotency_key` (1 to 256 characters) makes repeating safe: submitting the same
        task again with the same key returns the first task, with `created` False.

        Raises `Invalid`, naming the field, `QueueFull`, `Unavailable`, and `Conflict` if the key
        was used for another task.
        """
        ...

    def submit_task(self, new: AnyTask) -> str:
        """Submit a task. Returns its id once it is on disk. Raises the same errors as `submit`."""
        ...

    def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        """Submit a task to start at `at` (an aware datetime) or soon after. Returns its id.

        A time in the past means now. Raises the same errors as `submit`.
        """
        ...

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> TaskStream:
        """Submit a task and iterate over the `Chunk`s of its reply, as `stream_task` does.

        The iterator has the task's id as `task_id`. Leaving it before its last chunk (`close`,
        `break`, an error) does not stop the task, unless `cancel_on_close` is True: then the task
        is cancelled. `timeout` is the longest wait for a chunk, in seconds. Raises the same errors
        as `submit` and `stream_task`.
        """
        ...

    def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        """Submit a task and call `callback(result)` when it ends. Returns the task's id.

        Callbacks run one at a time, in the order in which their tasks end, in a separate thread.
        With `AsyncClient` they run in an asyncio task and may be coroutine functions. An exception
        in a callback is logged. Callbacks survive a restart of the queue, but not of your program:
        see `on_end`. Raises the same errors as `submit`.
        """
        ...

    def submit_task_with_channel(
        self,
        new: AnyTask,
        channel: "queue.Queue[TaskResult] | queue.SimpleQueue[TaskResult]",
    ) -> str:
        """Submit a task and put its result into `channel` when it ends. Returns the task's id.

        `channel` is a queue from the `queue` module; with `AsyncClient`, an `asyncio.Queue`. While
        it is full, results wait in order and block nothing else. Raises the same errors as
        `submit`.
        """
        ...

    def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        """Call `callback(result)` when a task ends, or soon if it has already ended.

        Callbacks run as in `submit_task_with_callback`; a task may have several. Raises `NotFound`.
        """
        ...

    # --- batches --------------------------------------------------------------------------------

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        """Submit all tasks or none, as a batch. Returns the ids once all are on disk.

        `tasks` may be any iterable, including a generator. `idempotency_key` works as in `submit`,
        for the whole batch. Raises the same errors as `submit`; the error names the wrong task:
        `tasks[3].model: …`.
        """
        ...

    def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """Submit all tasks or none and wait for their results: `submit_batch`, then `wait_batch`.

        Raises the same errors as these two.
        """
        ...

    def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """Submit all tasks or none. Returns their ids once they are on disk.

        `callback(results)` is called when all have ended, as in `submit_task_with_callback`, with
        the results in submission order. Raises the same errors as `submit_batch`.
        """
        ...

    def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        """Submit all `tasks` or none, to start at `at` (an aware datetime) or soon after.

        A time in the past means now. Returns, calls back and raises as `submit_batch_tasks_async`.
        """
        ...

    def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[TaskResult]:
        """Wait until all tasks of a batch have ended. Returns their results in submission order.

        `batch_id` is an id, a `Batch` or the result of `submit_batch`. `on_progress(done, total)`
        is called in the waiting thread, at the start and as tasks end; with `AsyncClient` it may be
        a coroutine function. The result of a task deleted during the wait has an `error`. If the
        batch is given by its id, tasks deleted before the wait are left out.

        Raises `NotFound`, and `BatchTimeout` after `timeout` seconds; the tasks continue. That
        error, and any `QueueError` that ends the wait, has the batch's `batch_id` and `task_ids`.
        """
        ...

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> Generator[TaskResult, None, None]:
        """Iterate over the results of the tasks `ids` (at most 1,000,000) as the tasks end.

        Tasks that have already ended come first; the result of a deleted task has an `error`.
        Raises `TimeoutError` if not all have ended `timeout` seconds after the call; the tasks
        continue.
        """
        ...

    def get_batch(self, batch_id: OfBatch) -> Batch:
        """Return a batch, with the number of its tasks in each status.

        `batch_id` is an id, a `Batch` or the result of `submit_batch`. Raises `NotFound`, also if
        all of its tasks were deleted.
        """
        ...

    def list_batches(self, limit: int = 100) -> list[Batch]:
        """Return up to `limit` batches (1 to 1,000), newest first."""
        ...

    def cancel_batch(self, batch_id: OfBatch) -> Batch:
        """Cancel the tasks of a batch that have not ended, and return the batch.

        `batch_id` is as for `get_batch`. A batch from a file still writes its output files; until
        then its status is "cancelling".
        Raises `NotFound`, or `Conflict` if the batch has ended.
        """
        ...

    def list_deliveries(
        self,
        *,
        task_id: OfTask | None = None,
        status: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """Return up to `limit` deliveries of webhooks (1 to 1,000), newest first.

        Only those about the task `task_id`, or with the `status` ("pending", "delivered",
        "failed"). `cursor` is that of the previous page. Raises `Invalid`.
        """
        ...

    def retry_delivery(self, delivery_id: str) -> Delivery:
        """Make the delivery `delivery_id` again now, also if it has ended, and return it.

        Raises `NotFound`.
        """
        ...

    # --- one task -------------------------------------------------------------------------------

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        """Return a task with its payload and result.

        With `wait` (seconds, 0 to 3,600), returns when the task has ended or after that time,
        whichever comes first. Raises `NotFound`.
        """
        ...

    def get_task_status(self, task_id: OfTask) -> Status:
        """Return a task's status. Raises `NotFound`."""
        ...

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        """Wait until a task has ended. Returns it with its result.

        The wait survives a restart of the queue. Raises `NotFound`, and `TimeoutError` after
        `timeout` seconds; the task continues.
        """
        ...

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        """Iterate over a task's reply: every `Chunk` once, in order.

        Works whether the task is waiting, running or has ended. The last chunk is `done` and has
        the task's `status`; a chunk with `restart` discards all chunks before it. To leave a stream
        early, close it, for example with `contextlib.closing` (`AsyncClient`: `aclosing`).

        Raises `NotFound`, and `TimeoutError` after `timeout` seconds without a chunk.
        """
        ...

    def cancel_task(self, task_id: OfTask) -> Task:
        """Cancel a waiting or running task. Returns it.

        Raises `NotFound`, and `Conflict` if it has ended.
        """
        ...

    def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        """Change a task's `priority`: 1 to 15, or "low", "normal", "high", "critical".

        For a running task it takes effect at the next attempt. Returns the task. Raises `Invalid`,
        `NotFound`, and `Conflict` if it has ended.
        """
        ...

    def retry_task(self, task_id: OfTask) -> Task:
        """Queue a failed or cancelled task again, with all of its retries. Returns it.

        Raises `NotFound`, and `Conflict` if it is completed or has not ended.
        """
        ...

    def delete_task(self, task_id: OfTask) -> Task:
        """Delete a task that has ended. Returns it as it was.

        Raises `NotFound`, and `Conflict` if it has not ended.
        """
        ...

    # --- lists ----------------------------------------------------------------------------------

    def list_tasks(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> list[Task]:
        """Return tasks, newest first, up to the filter's `limit` (1 to 1,000; default 100).

        `filter` is a `TaskFilter` or a mapping of its fields, such as `{"status": ["failed"],
        "tag": "nightly"}`; None matches all. Payload and result are left out unless the filter
        includes them. Raises `Invalid`, naming the field.
        """
        ...

    def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        """Return one page of a list, as `list_tasks` does, with the `cursor` of the next page.

        A page may be shorter than `limit` even if more follow: continue until `cursor` is None.
        Raises `Invalid`, naming the field.
        """
        ...

    # --- events ---------------------------------------------------------------------------------

    def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> Subscription:
        """Subscribe to the queue's events from now on. Returns an iterator over them.

        `events` are names such as "task_completed"; `tasks` are up to 1,000 ids; None means all.
        Raises `Invalid` for an unknown event name.
        """
        ...

    def unsubscribe(self, subscription: Subscription) -> None:
        """End `subscription`. Iterating over it stops."""
        ...

    # --- the queue ------------------------------------------------------------------------------

    def get_queue_stats(self) -> QueueStats:
        """Return the queue's state: tasks by status, why they wait, workers, backends."""
        ...

    def get_history(
        self, span: str = "1h", *, by: str | None = None, tenant: str | None = None
    ) -> list[Period]:
        """Return what happened in each period until now, oldest first.

        `span` is "1h" (by minutes), "72h" (by hours) or "90d" (by days of UTC). It begins with the
        first period that is known. With `by` ("model", "backend", "tenant" or "tag"), each group in
        which something happened has a period of its own: the 20 largest groups, and "other". With
        `tenant`, only its tasks are counted. Raises `Invalid`, naming the argument.
        """
        ...

    def get_usage(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Collection[str] | None = None,
        tenant: str | None = None,
    ) -> UsageReport:
        """Return how many tasks there were and the tokens they used.

        `since` and `until` are aware times, by default the last 30 days; they are widened to whole
        hours of UTC, or to whole days if `since` is over 7 days ago. Days are kept for 400 days.
        `by` are some of "tenant", "tag", "model" and "backend" (also as one text, with commas):
        there is a row for each combination, at most 1,000. With `tenant`, only its tasks are
        counted. Raises `Invalid`, naming the argument.
        """
        ...

    def list_audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> AuditPage:
        """Return who changed what, newest first, with the `cursor` of the next page.

        Each entry has an `action` (the name of a verb here), its `target`, and where it came from.
        `who` is the name of an API key; `since` and `until` are aware times. A page may be shorter
        than `limit` (1 to 1,000) even if more follow: continue until `cursor` is None. Raises
        `Invalid`, naming the argument.
        """
        ...

    def list_backends(self) -> list[BackendState]:
        """Return the backends (model servers), in configuration order."""
        ...

    def list_servers(self) -> list[FleetServer]:
        """Return the servers that share the queue, the one that leads first.

        Of a queue in a folder that is one. Raises `Unavailable` while no server leads.
        """
        ...

    def list_keys(self) -> list[KeyInfo]:
        """Return all API keys by name: what each allows, never the key itself."""
        ...

    def add_key(self, new: NewKey | Mapping[str, Any]) -> KeyCreated:
        """Add an API key. Returns it: the queue keeps only its hash, and cannot show it again.

        `new` is a `NewKey` or a mapping of its fields. The first key of a queue must be an
        admin's. Raises `Invalid`, naming the field, and `Conflict` for a name that is taken.
        """
        ...

    def rotate_key(self, name: str) -> KeyCreated:
        """Give `name` a new API key, which is returned; the old one ends at once.

        Raises `NotFound`, and `Conflict` for a key of the configuration.
        """
        ...

    def revoke_key(self, name: str) -> KeyInfo:
        """Delete the API key `name`, and close the streams and WebSockets opened with it.

        Returns what it allowed. Raises `NotFound`, and `Conflict` for a key of the configuration
        or the last admin's.
        """
        ...

    def drain_backend(self, name: str) -> BackendState:
        """Stop starting calls on a backend; running calls continue. Survives a restart.

        `name` is the backend's name in the configuration. Returns its state. Raises `NotFound`.
        """
        ...

    def resume_backend(self, name: str) -> BackendState:
        """Start calls on the backend `name` again. Returns its state. Raises `NotFound`."""
        ...

    def load_model(
        self, name: str, model: str, *, keep_alive: str | float | None = None
    ) -> BackendState:
        """Load `model` into the memory of the Ollama server `name`; takes up to 5 minutes.

        `keep_alive` is how long it stays there after its last use, as Ollama writes it: "10m",
        seconds, or -1 for ever; None is Ollama's default, 5 minutes. Returns the server's state.
        Raises `NotFound` for an unknown server, or one that does not have the model, `Conflict` if
        it is not an Ollama, or could not load it.
        """
        ...

    def unload_model(self, name: str, model: str) -> BackendState:
        """Remove `model` from the memory of the Ollama server `name`, once its calls have ended.

        Returns the server's state. Raises as `load_model` does, and `Conflict` for a model that
        the settings keep in memory there.
        """
        ...

    def pause(self) -> None:
        """Stop starting tasks; running tasks continue. Survives a restart."""
        ...

    def resume(self) -> None:
        """Start tasks again after `pause`."""
        ...

    def list_failures(self, limit: int = 100, *, tenant: str | None = None) -> list[FailureGroup]:
        """Return the failed tasks grouped by cause, the largest groups first.

        At most `limit` (1 to 1000) groups; with `tenant`, only of its tasks. A group's `id` is a
        filter: `list_tasks(failure=…)`, `retry_tasks(filter={"failure": …})`, `delete_tasks`.
        Raises `Invalid`, naming the argument.
        """
        ...

    def take_snapshot(self) -> StoreSnapshot:
        """Copy the whole queue, for a backup or an export; it continues meanwhile.

        The copy, on the machine that runs the queue, consists of links, so it takes next to no
        space at first. The next snapshot replaces it; a start of the queue removes it. Raises
        `Unavailable` if the disk refuses it, or the queue is in memory.
        """
        ...

    def close(self) -> None:
        """Close the queue, or the connections to it, and end all subscriptions and callbacks."""
        ...
