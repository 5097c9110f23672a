"""`QueueManager`: the embedded queue. Implements the verbs of `QueueAPI` with the actors."""

import atexit
import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import msgspec
from msgspec.structs import replace

from ollama_queue import __version__

from ..api import views
from ..api.composed_verbs import ComposedVerbs
from ..api.threads import Threads
from ..backup.folders import back_up
from ..backup.manifest import BackupManifest
from ..base.actor import Ping, Ref, ask, log, stop, tell
from ..base.cooperation import run_steps
from ..base.inbox import check_process, check_threads
from ..base.mailbox import Mailbox
from ..base.thread_pool import Pool, ThreadPool
from ..batch_loading import draft_batch
from ..core.activity.audit import AuditPage
from ..core.activity.failures import FailureGroup
from ..core.activity.measures import FleetMeasures, QueueMeasures
from ..core.config.config import Config, LoggingSettings
from ..core.fleet.servers import FleetServer
from ..core.intake import arguments, deliveries
from ..core.intake.arguments import LONGEST_ANSWER_S, AnyTask, OfBatch, OfCron, OfTask
from ..core.intake.batch_jobs import new_job
from ..core.intake.bulk import Bulk, BulkResult, Filter, Verb, bulk
from ..core.intake.filters import task_filter
from ..core.intake.reports import audit_query, checked_tenant, history_query, usage_query
from ..core.intake.submission import drafting, parse_priority
from ..core.messages import (
    Cancel,
    CheckCapacity,
    CountTasks,
    Delete,
    Describe,
    Drain,
    Explain,
    GetBatch,
    GetBudgets,
    GetDelivery,
    GetHistory,
    GetTask,
    GetTenants,
    GetThroughput,
    GetUsage,
    GetWaitReasons,
    ListBatches,
    ListFailures,
    ListJobs,
    ListTasks,
    Pause,
    Reprioritize,
    Resume,
    Retry,
    RetryDelivery,
    Shutdown,
    Submit,
    TakeSnapshot,
)
from ..core.messages.batch_runner import CancelBatch, CreateBatch, DeleteBatch
from ..core.messages.leader_proxy import GetQueueStats
from ..core.messages.replies import StoredTask
from ..core.model.access_keys import KeyCreated, KeyInfo, NewKey
from ..core.model.crons import Cron, CronAdded, IfExists, NewCron
from ..core.model.deliveries import Delivery, DeliveryPage
from ..core.model.errors import (
    Conflict,
    Invalid,
    NoCapableServer,
    NotFound,
    QueueError,
)
from ..core.model.files import FilePage, StoredFile
from ..core.model.ids import key_digest, request_digest
from ..core.model.outcomes import BackendReply
from ..core.model.stats import (
    BackendState,
    Period,
    QueueStats,
    StoreSnapshot,
    UsageReport,
    Waiting,
)
from ..core.model.task_filter import MAX_LIMIT, TaskFilter, TaskPage
from ..core.model.tasks import (
    CLIENT_LEFT,
    Batch,
    BatchSubmitted,
    Chunk,
    Priority,
    Record,
    Status,
    Submitted,
    Task,
)
from ..core.plan.settle import utc
from ..executors import create_executor
from ..files.blob_streams import BlobReader
from ..files.free_space import FreeSpace
from ..routines.steps import Leave
from ..settings.settings import anchored
from ..supervision.generation import Runtime, mint_now
from ..supervision.switchboard import Generation, Readable, Switchboard
from ..supervision.system import System
from ..task_log import EmbeddedLog
from . import watch
from .auditing import Auditor
from .backends import EmbeddedBackends
from .bulk import do_bulk
from .crons import EmbeddedCrons
from .files import EmbeddedFiles, NewFile
from .keys import EmbeddedKeys, OnGrants
from .measuring import check_ready, done_by, measure
from .options import LOG_OPTIONS, Options, config_of
from .shared_queue import measure_fleet, shared_storage

if TYPE_CHECKING:
    from .forwarded_call import ForwardedCall

T = TypeVar("T")
BATCH_PATIENCE_S = 300.0
SNAPSHOT_PATIENCE_S = 300.0
ROLE_PATIENCE_S = 60.0  # for this server or another one to lead
FAILURES_PATIENCE_S = 60.0  # the first time, all failed tasks are read


def _thread_pools() -> tuple[Pool, Pool]:
    return ThreadPool("ollama-queue-sync"), ThreadPool("ollama-queue-scan")


def give_up(reason: str) -> None:
    log.critical("this QueueManager has failed and cannot be used: %s", reason)


class QueueManager(ComposedVerbs):
    """A durable queue inside your own program, with plain threads and no global state.

    Use it as a context manager, or call `start` and `close`. Verbs may be called from any thread
    and raise `QueueError`. A program may open several managers, each with its own folder.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        runtime: Runtime | None = None,
        accept_loss: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Pass a `Config` or options: `ollama_host`, `ollama_timeout` (seconds or "5m"),
        `max_workers`, `storage_path` or `storage` (the URL of a PostgreSQL), `max_queue_size`,
        `durability`, `cleanup_interval`, `max_completed_tasks`, `scheduling_interval`,
        `retry_config` (`max_retries`, `initial_delay`, `max_delay`, `backoff_factor`), `log_level`,
        `log_file`. Relative paths are resolved now, against the current folder.

        A store that has lost acknowledged data is not opened. `accept_loss`, meant for a single
        start, opens it with the data that is left.

        `log_level`, `log_file` or a `Config` with logging settings configure the `ollama_queue`
        logger while the queue is open; other loggers are never changed. Raises `Invalid`, naming
        the option.
        """
        super().__init__(Threads.over(self))
        if config is not None and options:
            raise Invalid("give a Config or options, not both", field=min(options))
        if config is not None and not isinstance(config, Config):
            raise Invalid(
                "config must be a Config; a folder is named as storage_path", field="config"
            )
        if runtime is not None:
            arguments.record(runtime, Runtime, "runtime")
        self.config = anchored(config or config_of(options))
        logs = self.config.logging != LoggingSettings() or not LOG_OPTIONS.isdisjoint(options)
        self._logbook = EmbeddedLog(self.config.logging if logs and runtime is None else None)
        self._accept_loss = accept_loss
        self._runtime = runtime or Runtime(_thread_pools, create_executor, give_up)
        self._make_pool = self._runtime.file_pool  # for what needs no database
        storage = self.config.queue.storage
        self._is_shared = storage is not None
        if storage is not None:
            self._runtime = shared_storage(storage, self._runtime, _thread_pools)
        self.yield_control = self._runtime.yield_control  # the doors use it too
        self._switchboard = Switchboard()
        self.auditor = Auditor(self._switchboard)
        self._keys = EmbeddedKeys(self._switchboard, self.auditor)
        self._crons = EmbeddedCrons(self._switchboard, self.auditor)
        self._backends = EmbeddedBackends(
            self._switchboard, self.auditor, self.config, self.yield_control
        )
        folder = self.config.queue.storage_path
        self._free_space = FreeSpace(folder, self._runtime.check_free_space)
        self._files = EmbeddedFiles(
            self._switchboard,
            self._runtime.open_blobs(folder),
            self._runtime.file_pool,
            self._free_space.check,
            self.config.queue.file_retention,
        )
        self._system: Ref | None = None
        self._closing, self._is_closing = threading.RLock(), False
        self._pid = os.getpid()
        self._since = time.monotonic()

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Open the store and start running tasks. Raises `Unavailable` if it cannot be opened."""
        check_process(self._pid)
        check_threads()
        if self._system is None:
            self._logbook.open()
            system = self._system = self._start_system()
            # If the interpreter ended a thread inside RocksDB, the process would abort.
            atexit.register(self.close, grace_s=0)
            try:
                ask(system, Ping(), timeout=600)
            except QueueError:
                self._let_go()
                raise
            if self._is_shared:
                self._switchboard.await_role(ROLE_PATIENCE_S)
            self._logbook.follow(self.listen_for_log, self.yield_control)
        return self

    def _start_system(self) -> Ref:
        args = (self.config, self._runtime, self._switchboard)
        if not self._is_shared:
            return System.start(*args, accept_loss=self._accept_loss)
        from ..supervision.fleet_system import FleetSystem

        return FleetSystem.start(*args)

    def close(self, grace_s: float | None = None) -> None:
        """Close the queue. Running tasks get `grace_s` seconds to end, or wait for the next start.

        `grace_s` defaults to `server.shutdown_grace`. Returns once all data is on disk and the
        store is closed. If another close is in progress, in another thread or after a Ctrl-C, this
        one can shorten its grace period. In a forked process it does nothing: the queue belongs to
        the parent.
        """
        grace_s = arguments.seconds(grace_s, "grace_s")
        if os.getpid() != self._pid:
            return
        grace = self.config.server.shutdown_grace if grace_s is None else grace_s
        if self._is_closing:
            with suppress(QueueError):
                tell(self._now().scheduler, Drain(grace))
        with self._closing:
            if self._system is not None:
                self._is_closing = True
                try:
                    ask(self._system, Shutdown(grace), timeout=None)
                except QueueError:
                    self._let_go()  # it has crashed: there is nothing to stop
                    raise
                stop(self._system, 1.0)
                self._hang_up()
                self._let_go()

    def _let_go(self) -> None:
        """Mark the queue as closed and remove its exit handler.

        Until then, the handler closes it at exit, also if a Ctrl-C interrupted `close`.
        """
        self._system, self._is_closing = None, False
        self._backends.close()
        self._files.close()
        atexit.unregister(self.close)
        self._logbook.close()

    stop = close

    def __enter__(self) -> Self:
        return self.start()

    def _now(self) -> Generation:
        return self._switchboard.current()

    def _readable(self) -> Generation | Readable:
        return self._switchboard.readable()

    # --- submitting -------------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        return self._submit(drafting(new, idempotency_key, trace=self.auditor.trace()))

    def _submit(
        self, steps: Generator[None, None, Submit], expires_in: float | None = None
    ) -> Submitted:
        command = run_steps(steps, self.yield_control)
        if expires_in is not None:
            command = replace(command, expires_in=expires_in)
        self._free_space.check(len(command.spec))
        answer = self._placed(lambda: self._switchboard.ask_leader(command))
        if isinstance(answer, StoredTask):  # the key was already used for this task
            record = answer.record
            where = self._explain([record]).get(record.id)
            position = where.position if where else None
            return Submitted(record.id, record.status, position, created=False)
        return answer

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        def check(tasks: int, size: int) -> None:
            self._free_space.check(size)
            ask(self._now().scheduler, CheckCapacity(tasks, size))

        command = draft_batch(
            tasks, idempotency_key, self.yield_control, check, self.auditor.trace()
        )
        self._free_space.check(command.size)
        return self._placed(lambda: ask(self._now().scheduler, command, BATCH_PATIENCE_S))

    def _placed(self, submit: Callable[[], T]) -> T:
        """Submit. If the scheduler knows no suitable server, probe all servers and try again."""
        try:
            return submit()
        except (NotFound, NoCapableServer):
            self.probe_backends()
        return submit()

    # --- one task ---------------------------------------------------------------------------------

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        return self._shown(self._stored(task_id, wait))

    def get_raw_task(self, task_id: str, *, wait: float | None = None) -> Task:
        """As `get_task`, for programs that send the task on as JSON: its `result` is a
        `msgspec.Raw`, not decoded. Decoding and encoding a large one would take a second."""
        return self._shown(self._stored(task_id, wait), msgspec.Raw)

    def _stored(self, task_id: OfTask, wait: float | None) -> StoredTask:
        task_id = arguments.task_id(task_id)
        if wait := arguments.seconds(wait, "wait", LONGEST_ANSWER_S):
            with suppress(TimeoutError):
                return watch.wait(self._switchboard, task_id, wait)
        return ask(self._readable().persistence, GetTask(task_id))

    def get_task_status(self, task_id: OfTask) -> Status:
        stored = ask(self._readable().persistence, GetTask(arguments.task_id(task_id)))
        return stored.record.status

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        task_id, timeout = arguments.task_id(task_id), arguments.seconds(timeout, "timeout")
        return self._shown(watch.wait(self._switchboard, task_id, timeout))

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        check_process(self._pid)
        task_id, timeout = arguments.task_id(task_id), arguments.seconds(timeout, "timeout")
        pieces = watch.PieceStream(
            self._switchboard, task_id, timeout, yield_control=self.yield_control
        )
        return watch.ChunkStream(pieces, self.yield_control)

    def cancel_task(self, task_id: OfTask) -> Task:
        task_id = arguments.task_id(task_id)
        ask(self._now().scheduler, Cancel(task_id, audit=self.auditor.note("cancel_task", task_id)))
        return self.get_task(task_id)

    def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        task_id = arguments.task_id(task_id)
        level = parse_priority(priority)
        note = self.auditor.note("update_task_priority", task_id, f"to {level}")
        ask(self._now().scheduler, Reprioritize(task_id, level, audit=note))
        return self.get_task(task_id)

    def retry_task(self, task_id: OfTask) -> Task:
        task_id = arguments.task_id(task_id)
        ask(self._now().scheduler, Retry(task_id, audit=self.auditor.note("retry_task", task_id)))
        return self.get_task(task_id)

    def delete_task(self, task_id: OfTask) -> Task:
        task_id = arguments.task_id(task_id)
        note = self.auditor.note("delete_task", task_id)
        record = ask(self._now().scheduler, Delete(task_id, audit=note))
        return views.listed(record, None)

    # --- many tasks -------------------------------------------------------------------------------

    def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        return self._page(filter, msgspec.json.decode)

    def list_raw_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        """As `list_page`, with results as those of `get_raw_task`."""
        return self._page(filter, msgspec.Raw)

    def _page(
        self,
        filter: TaskFilter | Mapping[str, Any] | None,
        read_result: Callable[[bytes], Any],
    ) -> TaskPage:
        checked = task_filter(filter)
        reasons = ask(self._now().scheduler, GetWaitReasons()) if checked.waiting_for else None
        page = ask(self._readable().persistence, ListTasks(checked, reasons))
        waiting = self._explain(page.records)
        return views.page(page, waiting, checked, self.yield_control, read_result)

    def get_batch(self, batch_id: OfBatch) -> Batch:
        return ask(self._readable().persistence, GetBatch(arguments.batch_id(batch_id)))

    def list_batches(self, limit: int = 100) -> list[Batch]:
        return self.list_batches_of(None, limit)

    def list_batches_of(self, tenant: str | None, limit: int = 100) -> list[Batch]:
        """The newest batches of a tenant; None: of all."""
        command = ListBatches(arguments.whole(limit, "limit", 1, 1000), tenant)
        return ask(self._readable().persistence, command)

    def cancel_batch(self, batch_id: OfBatch) -> Batch:
        batch = self.get_batch(batch_id)
        if batch.job is not None:
            return self.cancel_job(batch.id)
        if batch.is_over:
            raise Conflict(f"batch {batch.id} has ended: it cannot be cancelled", field="id")
        self.auditor.record("cancel_batch", batch.id)
        live = {"batch_id": batch.id, "status": [Status.PENDING, Status.RUNNING]}
        while (done := self.cancel_tasks(filter=live)).cursor is not None:
            live["cursor"] = done.cursor
        return self.get_batch(batch.id)

    def list_deliveries(
        self,
        *,
        task_id: OfTask | None = None,
        status: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeliveryPage:
        filters = {"task_id": task_id, "status": status, "limit": limit, "cursor": cursor}
        return self.list_deliveries_of(None, **filters)

    def list_deliveries_of(self, tenant: str | None, **filters: Any) -> DeliveryPage:
        """The deliveries to the URLs of a tenant's tasks; None: all."""
        return ask(self._readable().persistence, deliveries.query(tenant=tenant, **filters))

    def get_delivery(self, delivery_id: str) -> Delivery:
        """A delivery of a webhook. Raises `NotFound`."""
        command = GetDelivery(deliveries.delivery_id(delivery_id))
        return ask(self._readable().persistence, command).delivery

    def retry_delivery(self, delivery_id: str) -> Delivery:
        delivery_id = deliveries.delivery_id(delivery_id)
        note = self.auditor.note("retry_delivery", delivery_id)
        return ask(self._now().webhooks, RetryDelivery(delivery_id, audit=note))

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.CANCEL, ids, filter))

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.RETRY, ids, filter))

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.DELETE, ids, filter))

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        return self._do_bulk(bulk(Verb.PRIORITY, ids, filter, priority))

    def _do_bulk(self, bulk: Bulk) -> BulkResult:
        return do_bulk(bulk, self._switchboard, self.list_page, self.auditor.record_bulk)

    # --- crons ------------------------------------------------------------------------------------

    def add_cron(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> CronAdded:
        """Add a cron, as `add_cron_task`. The result also says whether it is new."""
        return self._crons.add(new, if_exists)

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        return self._crons.add(new, if_exists).id

    def list_cron_tasks(self) -> list[Cron]:
        return self._crons.all()

    def get_cron_task(self, cron_id: OfCron) -> Cron:
        return self._crons.get(cron_id)

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        return self._crons.update(cron_id, changes)

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        return self._crons.remove(cron_id)

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        return self._crons.enable(cron_id, True)

    def disable_cron_task(self, cron_id: OfCron) -> Cron:
        return self._crons.enable(cron_id, False)

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        return self._crons.run(cron_id)

    # --- the queue --------------------------------------------------------------------------------

    def get_queue_stats(self) -> QueueStats:
        return self.get_tenant_stats(None)

    def get_tenant_stats(self, tenant: str | None) -> QueueStats:
        """The state of the queue as far as a tenant's tasks go; None: of all."""
        if isinstance(self._readable(), Readable):
            return self._switchboard.ask_leader(GetQueueStats(tenant))
        now = self._now()
        counts = ask(now.persistence, CountTasks(tenant))
        state = ask(now.scheduler, Describe(tenant))
        pace = ask(now.bus, GetThroughput())
        up_s, gap_ms = time.monotonic() - self._since, self._runtime.hub_gap_ms()
        return views.stats(counts, state, pace, time.time(), up_s, gap_ms)

    def get_history(
        self, span: str = "1h", *, by: str | None = None, tenant: str | None = None
    ) -> list[Period]:
        return ask(self._now().bus, GetHistory(history_query(span, by, tenant, time.time())))

    def get_usage(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Collection[str] | None = None,
        tenant: str | None = None,
    ) -> UsageReport:
        query = usage_query(since, until, by, tenant, time.time())
        report = ask(self._now().bus, GetUsage(query))
        if query.tenant is None:
            return report
        return replace(report, budgets=ask(self._now().scheduler, GetBudgets(query.tenant)))

    def list_keys(self) -> list[KeyInfo]:
        return self._keys.all()

    def add_key(self, new: NewKey | Mapping[str, Any]) -> KeyCreated:
        return self._keys.add(new)

    def rotate_key(self, name: str) -> KeyCreated:
        return self._keys.rotate(name)

    def revoke_key(self, name: str) -> KeyInfo:
        return self._keys.revoke(name)

    def watch_grants(self, listener: OnGrants) -> None:
        """Call `listener` with what each API key allows, now and after each change."""
        self._keys.listen(listener)

    def tell_grants(self) -> None:
        """Call those who `watch_grants` again: this server has begun to lead."""
        self._keys.tell()

    @property
    def fleet(self) -> Switchboard | None:
        """What this server knows of the others; None if the queue is in a folder."""
        return self._switchboard if self._is_shared else None

    def pause(self) -> None:
        ask(self._now().scheduler, Pause(audit=self.auditor.note("pause")))

    def resume(self) -> None:
        ask(self._now().scheduler, Resume(audit=self.auditor.note("resume")))

    def list_failures(self, limit: int = 100, *, tenant: str | None = None) -> list[FailureGroup]:
        command = ListFailures(
            arguments.whole(limit, "limit", 1, MAX_LIMIT), checked_tenant(tenant)
        )
        return ask(self._now().persistence, command, FAILURES_PATIENCE_S)

    def take_snapshot(self) -> StoreSnapshot:
        self.auditor.record("take_snapshot")
        return ask(self._now().persistence, TakeSnapshot(), SNAPSHOT_PATIENCE_S)

    def backup(self, folder: str | os.PathLike[str]) -> BackupManifest:
        """Write a backup of the whole queue to `folder`; it continues meanwhile.

        The folder is created, and must not have content; it is there only once the backup is
        complete and durable. `ollama-queue-server verify` checks it, `restore` makes a data folder
        of it. Returns what it contains. Raises `Conflict` if the folder is in use, `Unavailable` if
        the disk refuses it.
        """
        return back_up(Path(folder), Path(self.config.queue.storage_path), self.take_snapshot)

    def list_backends(self) -> list[BackendState]:
        return self._backends.all()

    def backend_types(self) -> dict[str, str]:
        """The types of the model servers that the settings name, by name."""
        return self._backends.types()

    def list_servers(self) -> list[FleetServer]:
        if self._is_shared:
            return self._switchboard.servers()
        state = ask(self._now().scheduler, Describe())
        return [
            FleetServer(
                id="this",
                url=self._runtime.url,
                leads=True,
                version=__version__,
                slots=state.active + state.idle,
                calls=state.active,
                lag_s=0.0,
                read_only=state.read_only,
            )
        ]

    def drain_backend(self, name: str) -> BackendState:
        return self._backends.drain(name, True)

    def resume_backend(self, name: str) -> BackendState:
        return self._backends.drain(name, False)

    def load_model(
        self, name: str, model: str, *, keep_alive: str | float | None = None
    ) -> BackendState:
        return self._backends.load(name, model, keep_alive)

    def unload_model(self, name: str, model: str) -> BackendState:
        return self._backends.unload(name, model)

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
        tenant: str | None = None,
    ) -> AuditPage:
        return self.auditor.page(
            audit_query(who, action, target, since, until, limit, cursor, tenant)
        )

    def measure(self) -> QueueMeasures:
        """What the actors measure, for a monitoring system."""
        folder = None if self._is_shared else self.config.queue.storage_path
        return measure(self._switchboard, folder, self._runtime.hub_gap_ms)

    def measure_fleet(self) -> FleetMeasures | None:
        """What this server measures of the others; None if the queue is in a folder. It needs no
        server that leads."""
        return measure_fleet(self._switchboard) if self._is_shared else None

    def check_ready(self) -> list[str]:
        """Check that the queue takes tasks. Returns what keeps them from running, in sentences.

        Raises `Unavailable` with the reason.
        """
        if self._is_shared and not self._switchboard.is_leading:
            self._switchboard.check_leader()
            return []
        return check_ready(self._switchboard, self._free_space.check)

    def do_aside(self, work: Callable[[], T]) -> T:
        """Run `work` in a native thread where the server has one, so that others are served."""
        pool = self._make_pool()
        try:
            return done_by(pool, work)
        finally:
            pool.finish(0)

    # --- for the HTTP server ----------------------------------------------------------------------

    def submit_listed(
        self,
        new: AnyTask,
        *,
        idempotency_key: str | None = None,
        expires_in: float | None = None,
    ) -> Submitted:
        """Submit, as `submit`, but raise `NotFound` if no backend has the model, after a probe.
        `expires_in` is the task's deadline, in seconds from its acceptance."""
        return self._submit(
            drafting(new, idempotency_key, listed=True, trace=self.auditor.trace()), expires_in
        )

    def revive_task(self, task_id: str, *, expires_in: float | None = None) -> None:
        """Retry a task, with a new deadline in `expires_in` seconds if it is set."""
        ask(self._now().scheduler, Retry(task_id, expires_in))

    def tenants_of(self, task_ids: Collection[str]) -> dict[str, str | None]:
        """The tenant of each of these tasks that exists."""
        return ask(self._readable().persistence, GetTenants(tuple(task_ids)))

    def abandon_task(self, task_id: str) -> None:
        """Cancel a task whose client has disconnected; on a server that follows, once it reaches
        one that leads."""
        command = Cancel(task_id, CLIENT_LEFT)
        if self._switchboard.is_leading:
            ask(self._now().scheduler, command)
        else:
            self._switchboard.tell_leader(command)

    def check_leads(self) -> None:
        """Raise `Unavailable` on a server that follows: what comes to one door must meet all that
        comes to the others."""
        self._now()

    def follow_task(
        self, task_id: OfTask, *, after: watch.ChunkPosition | None = None, heartbeat: float | None
    ) -> watch.PieceStream:
        """Stream the pieces after the one at `after`, as they are; see `PieceStream`."""
        task_id = arguments.task_id(task_id)
        return watch.PieceStream(
            self._switchboard,
            task_id,
            after=after,
            heartbeat=heartbeat,
            yield_control=self.yield_control,
        )

    def follow_next(self, *, heartbeat: float | None) -> watch.PieceStream:
        """As `follow_task`, of a task that is submitted only now: its `task_id` is still to be set.
        Close it. Raises `Unavailable` if pieces would not arrive."""
        stream = watch.PieceStream(
            self._switchboard, "", heartbeat=heartbeat, yield_control=self.yield_control
        )
        stream.begin()
        return stream

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
    ) -> Leave:
        """Put events into `mailbox` from now on. Returns a function that ends this.

        Waits while the actors restart.
        """
        return watch.listen(self._switchboard, mailbox, events, tasks)

    def listen_for_log(self, mailbox: Mailbox[Any], events: frozenset[str]) -> Leave:
        """Put events into `mailbox` while this server leads, also if that begins later."""
        if self._is_shared:
            return watch.listen_while_leading(self._switchboard, mailbox, events)
        return self.listen(mailbox, events)

    def new_file(self, tenant: str | None = None) -> NewFile:
        """Begin to write a file; use it as a context manager."""
        return self._files.new(tenant)

    def get_file(self, file_id: str) -> StoredFile:
        """The record of a file. Raises `NotFound`."""
        return self._files.get(file_id)

    def list_files(
        self,
        limit: int,
        after: str = "",
        purpose: str = "",
        *,
        ascending: bool = False,
        tenant: str | None = None,
    ) -> FilePage:
        """At most `limit` files after the file `after`, newest first or `ascending`; of a `tenant`
        if it is named."""
        return self._files.page(limit, after, purpose, ascending, tenant)

    def read_file(self, file_id: str) -> tuple[StoredFile, BlobReader]:
        """A file and its bytes in pieces; close the reader in the end."""
        return self._files.read(file_id)

    def delete_file(self, file_id: str) -> StoredFile:
        """Delete a file; returns its last record. Raises `NotFound`."""
        return self._files.delete(file_id, self.auditor.note("delete_file", file_id))

    def create_batch(
        self,
        body: Mapping[str, Any],
        tenant: str | None = None,
        *,
        fallback_models: Sequence[str] | None = None,
        allowed_models: Sequence[str] = (),
        backend: str | None = None,
        idempotency_key: str | None = None,
        digest: bytes = b"",
    ) -> Batch:
        """Create a batch from the lines of a file. Raises `Invalid`, naming the field.

        `fallback_models` are those of each of its tasks, except its own model. Its tasks are
        restricted to `allowed_models` (patterns; empty: all) and to a `backend`.
        With a key that was used before it is that batch, `Conflict` if its request differed:
        `digest` is that of the request, by default of `body`.
        """
        key = arguments.key(idempotency_key)
        now = utc(time.time())
        job = replace(
            new_job(body, tenant, now, fallback_models),
            allowed_models=list(allowed_models),
            backend=backend,
        )
        try:
            file = self._files.get(job.input_file_id)
        except NotFound as error:
            raise Invalid(error.message, field="input_file_id") from None
        if file.purpose != "batch":
            raise Invalid(
                f"file {file.id} must have the purpose batch, it has {file.purpose}",
                field="input_file_id",
            )
        batch = Batch(id=mint_now(), created_at=now, total=0, job=job, tenant=tenant)
        note = self.auditor.note("create_batch", batch.id, f"from {file.id}")
        command = CreateBatch(batch, audit=note)
        if key is not None:
            digest = digest or request_digest(body)
            if fallback_models is not None:
                digest = request_digest([digest.hex(), *fallback_models])
            command = CreateBatch(batch, key_digest(tenant, key), digest, audit=note)
        batch_id = ask(self._now().batches, command)
        try:
            return self.get_batch(batch_id)
        except NotFound:
            message = f"this idempotency key was used for batch {batch_id}, which has been deleted"
            raise Conflict(message, field="idempotency_key") from None

    def list_jobs(
        self,
        limit: int,
        before: str = "",
        endpoint: str = "",
        after: str = "",
        tenant: str | None = None,
    ) -> list[Batch]:
        """The newest `limit` batches from files, older than the batch `before` if it is set, of a
        `tenant` if it is named. With `after`, those just newer than that batch. Raises
        `NotFound`."""
        if place := before or after:
            self.get_batch(place)
        return ask(self._readable().persistence, ListJobs(limit, before, endpoint, after, tenant))

    def cancel_job(self, batch_id: str) -> Batch:
        """Cancel what has not ended of a batch from a file. Raises `NotFound`, or `Conflict` if it
        has ended."""
        if self.get_batch(batch_id).job is None:
            raise NotFound(f"batch {batch_id} is not from a file", field="id")
        note = self.auditor.note("cancel_batch", batch_id)
        ask(self._now().batches, CancelBatch(batch_id, audit=note))
        return self.get_batch(batch_id)

    def delete_job(self, batch_id: str) -> None:
        """Delete a batch from a file, with its files; its tasks stay. Raises `NotFound`, or
        `Conflict` if it has not ended."""
        job = self.get_batch(batch_id).job
        if job is None:
            raise NotFound(f"batch {batch_id} is not from a file", field="id")
        files = (job.input_file_id, job.output_file_id, job.error_file_id)
        note = self.auditor.note("delete_batch", batch_id)
        stored = tuple(file for file in files if file is not None)
        ask(self._now().batches, DeleteBatch(batch_id, stored, audit=note))

    def probe_backends(self, names: Collection[str] | None = None) -> None:
        """Probe these model servers, or all, now. Returns once the plan has the results."""
        self._backends.probe(names)

    def call_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, BackendReply]:
        """Send a GET of `path`, or a POST of `body`, to backends. Returns replies within 5 s."""
        return self._backends.call(names, path, body)

    def load_on_backends(
        self, names: Collection[str], path: str, body: Mapping[str, Any]
    ) -> dict[str, BackendReply]:
        """Send backends a POST that loads or unloads a model. Returns replies within 5 min."""
        return self._backends.call_to_load(names, path, body)

    def forward(self, name: str, method: str, path: str) -> "ForwardedCall":
        """A request to the Ollama server `name`, which the caller's thread makes."""
        return self._backends.forward(name, method, path)

    def dismiss(self, call: "ForwardedCall") -> None:
        """Close the connection of a forwarded call."""
        self._backends.dismiss(call)

    # --- helpers ----------------------------------------------------------------------------------

    def _shown(
        self, stored: StoredTask, read_result: Callable[[bytes], Any] = msgspec.json.decode
    ) -> Task:
        waiting = self._explain([stored.record]).get(stored.record.id)
        return views.whole(stored, waiting, read_result)

    def _explain(self, records: list[Record]) -> dict[str, Waiting]:
        """Ask the plan why pending tasks wait, by task id."""
        pending = tuple(r.id for r in records if r.status is Status.PENDING)
        return self.explain_tasks(pending) if pending else {}

    def explain_tasks(self, task_ids: tuple[str, ...]) -> dict[str, Waiting]:
        """Why these tasks wait, of those that do."""
        return self._switchboard.ask_leader(Explain(task_ids))
