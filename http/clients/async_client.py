"""`AsyncClient`: the verbs of `QueueAPI` over HTTP, as coroutines."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

import httpx

from ...actors.api.docstrings import documented
from ...actors.api.task_stream import AsyncTaskStream
from ...actors.api.verbs import PageCollector, later, scheduled
from ...actors.core.activity.audit import AuditPage
from ...actors.core.activity.failures import FailureGroup
from ...actors.core.fleet.servers import FleetServer
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask, Tasks
from ...actors.core.intake.bulk import BulkResult, Filter, Verb, bulk
from ...actors.core.intake.filters import task_filter
from ...actors.core.intake.submission import parse_time
from ...actors.core.model.access_keys import KeyCreated, KeyInfo, NewKey
from ...actors.core.model.crons import Cron, IfExists, NewCron
from ...actors.core.model.deliveries import Delivery, DeliveryPage
from ...actors.core.model.errors import QueueError
from ...actors.core.model.stats import BackendState, Period, QueueStats, StoreSnapshot, UsageReport
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Chunk,
    Priority,
    Status,
    Submitted,
    Task,
    TaskResult,
)
from ...actors.routines import ends
from ...actors.routines.awaited import BatchResults
from ...actors.routines.channels import Channels
from ...actors.routines.ends import OnProgress
from ...actors.routines.hearing import Hearing
from .. import routes
from . import address, connection, protocol, requests
from .async_connections import AsyncConnections
from .event_loop import AsyncReporter, AsyncSubscription, EventLoop
from .requests import Request

T = TypeVar("T")


@documented
class AsyncClient:
    """A queue on a server, for asyncio: `async with AsyncClient("localhost:7125") as queue`.

    Has the verbs, errors and addresses of `Client`, as coroutines; streams are async iterators. May
    be used by many tasks at once, and in several event loops one after another (`asyncio.run`
    twice); connections and callbacks end with their loop. Raises `Conflict` if used in two running
    loops, or without asyncio. `timeout` (seconds above 0) limits each request, in addition to the
    request's own waiting time; `transport` is an httpx transport to send requests with.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self.url = address.full(address.usual() if url is None else url)
        limit = connection.limit(timeout)
        self._connections = AsyncConnections(self.url, limit, transport, address.usual_key(api_key))
        self._routines = EventLoop(self._connections.takes)
        self._subscriptions: WeakSet[AsyncSubscription] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _enter(self) -> None:
        """Switch to the running event loop, if it is a new one. Raises `Conflict`."""
        here = self._connections.enter()
        if here is not self._loop:
            self._loop = here
            self._channels = Channels(self._routines.run)
            self._reporter: AsyncReporter | None = None
            self._reporter_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all subscriptions, callbacks and connections."""
        self._enter()
        self._connections.is_closed = True
        for subscription in list(self._subscriptions):
            await subscription.close()
        if self._reporter is not None:
            await self._reporter.close()
        await self._connections.close()

    aclose = close

    # --- tasks ----------------------------------------------------------------------------------

    async def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        return await self._ask(requests.submit(new, idempotency_key))

    async def submit_task(self, new: AnyTask) -> str:
        return (await self.submit(new)).task_id

    async def submit_scheduled_task(self, new: AnyTask, at: datetime) -> str:
        return await self.submit_task(scheduled(new, at))

    async def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        return await self._ask(requests.submit_batch(tasks, idempotency_key))

    async def get_batch(self, batch_id: OfBatch) -> Batch:
        return await self._ask(requests.build(routes.GET_BATCH, batch_id))

    async def cancel_batch(self, batch_id: OfBatch) -> Batch:
        return await self._ask(requests.build(routes.CANCEL_BATCH, batch_id))

    async def list_batches(self, limit: int = 100) -> list[Batch]:
        return await self._ask(requests.list_batches(limit))

    async def list_deliveries(
        self,
        *,
        task_id: OfTask | None = None,
        status: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeliveryPage:
        return await self._ask(requests.list_deliveries(task_id, status, limit, cursor))

    async def retry_delivery(self, delivery_id: str) -> Delivery:
        return await self._ask(requests.retry_delivery(delivery_id))

    async def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        return await self._ask(requests.get_task(task_id, wait))

    async def get_task_status(self, task_id: OfTask) -> Status:
        return (await self.get_task(task_id)).status

    async def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        return await self._routines.run(protocol.wait(task_id, timeout))

    async def cancel_task(self, task_id: OfTask) -> Task:
        return await self._ask(requests.build(routes.CANCEL_TASK, task_id))

    async def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        return await self._ask(requests.update_task_priority(task_id, priority))

    async def retry_task(self, task_id: OfTask) -> Task:
        return await self._ask(requests.build(routes.RETRY_TASK, task_id))

    async def delete_task(self, task_id: OfTask) -> Task:
        return await self._ask(requests.build(routes.DELETE_TASK, task_id))

    async def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        return await self._ask(requests.list_page(filter))

    async def list_tasks(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> list[Task]:
        pages = PageCollector(task_filter(filter))
        while pages.following is not None:
            pages.add(await self.list_page(pages.following))
        return pages.tasks

    async def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return await self._ask(requests.do_bulk(bulk(Verb.CANCEL, ids, filter)))

    async def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return await self._ask(requests.do_bulk(bulk(Verb.RETRY, ids, filter)))

    async def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return await self._ask(requests.do_bulk(bulk(Verb.DELETE, ids, filter)))

    async def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        return await self._ask(requests.do_bulk(bulk(Verb.PRIORITY, ids, filter, priority)))

    # --- the queue ------------------------------------------------------------------------------

    async def get_queue_stats(self) -> QueueStats:
        return await self._ask(requests.build(routes.GET_STATUS))

    async def get_history(
        self, span: str = "1h", *, by: str | None = None, tenant: str | None = None
    ) -> list[Period]:
        return await self._ask(requests.get_history(span, by, tenant))

    async def get_usage(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Collection[str] | None = None,
        tenant: str | None = None,
    ) -> UsageReport:
        return await self._ask(requests.get_usage(since, until, by, tenant))

    async def list_audit(
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
        return await self._ask(
            requests.list_audit(
                who=who,
                action=action,
                target=target,
                since=since,
                until=until,
                limit=limit,
                cursor=cursor,
            )
        )

    async def list_backends(self) -> list[BackendState]:
        return await self._ask(requests.build(routes.LIST_BACKENDS))

    async def list_servers(self) -> list[FleetServer]:
        return await self._ask(requests.build(routes.LIST_SERVERS))

    async def list_keys(self) -> list[KeyInfo]:
        return await self._ask(requests.build(routes.LIST_KEYS))

    async def add_key(self, new: NewKey | Mapping[str, Any]) -> KeyCreated:
        return await self._ask(requests.add_key(new))

    async def rotate_key(self, name: str) -> KeyCreated:
        return await self._ask(requests.build(routes.ROTATE_KEY, name))

    async def revoke_key(self, name: str) -> KeyInfo:
        return await self._ask(requests.build(routes.REVOKE_KEY, name))

    async def drain_backend(self, name: str) -> BackendState:
        return await self._ask(requests.build(routes.DRAIN_BACKEND, name))

    async def resume_backend(self, name: str) -> BackendState:
        return await self._ask(requests.build(routes.RESUME_BACKEND, name))

    async def load_model(
        self, name: str, model: str, *, keep_alive: str | float | None = None
    ) -> BackendState:
        return await self._ask(requests.load_model(name, model, keep_alive))

    async def unload_model(self, name: str, model: str) -> BackendState:
        return await self._ask(requests.unload_model(name, model))

    async def pause(self) -> None:
        await self._ask(requests.build(routes.PAUSE))

    async def resume(self) -> None:
        await self._ask(requests.build(routes.RESUME))

    async def list_failures(
        self, limit: int = 100, *, tenant: str | None = None
    ) -> list[FailureGroup]:
        return await self._ask(requests.list_failures(limit, tenant))

    async def take_snapshot(self) -> StoreSnapshot:
        return await self._ask(requests.take_snapshot())

    # --- crons ----------------------------------------------------------------------------------

    async def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        return (await self._ask(requests.add_cron(new, if_exists))).id

    async def list_cron_tasks(self) -> list[Cron]:
        return await self._ask(requests.build(routes.LIST_CRONS))

    async def get_cron_task(self, cron_id: OfCron) -> Cron:
        return await self._ask(requests.build(routes.GET_CRON, cron_id))

    async def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        return await self._ask(requests.update_cron(cron_id, changes))

    async def remove_cron_task(self, cron_id: OfCron) -> Cron:
        return await self._ask(requests.build(routes.REMOVE_CRON, cron_id))

    async def enable_cron_task(self, cron_id: OfCron) -> Cron:
        return await self._ask(requests.build(routes.ENABLE_CRON, cron_id))

    async def disable_cron_task(self, cron_id: OfCron) -> Cron:
        return await self._ask(requests.build(routes.DISABLE_CRON, cron_id))

    async def run_cron_task(self, cron_id: OfCron) -> Submitted:
        return await self._ask(requests.build(routes.RUN_CRON, cron_id))

    # --- streams --------------------------------------------------------------------------------

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> AsyncGenerator[Chunk, None]:
        return self._routines.items(protocol.stream_task(task_id, timeout))

    def submit_streaming_task(
        self, new: AnyTask, *, timeout: float | None = None, cancel_on_close: bool = False
    ) -> AsyncTaskStream:
        task, limit = arguments.task(new), arguments.seconds(timeout, "timeout")
        cancel = self.cancel_task if arguments.flag(cancel_on_close, "cancel_on_close") else None
        submit = self.submit_task if cancel is None else self._submit_or_cancel
        return AsyncTaskStream(
            lambda: submit(task), lambda task_id: self.stream_task(task_id, timeout=limit), cancel
        )

    async def _submit_or_cancel(self, new: AnyTask) -> str:
        """Submit a task. If this is cancelled meanwhile, cancel the task once its id is known."""
        self._enter()
        submitting = asyncio.ensure_future(self.submit_task(new))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            with suppress(QueueError):
                await self.cancel_task(await submitting)
            raise

    # --- events ---------------------------------------------------------------------------------

    async def subscribe(
        self,
        events: Collection[str] | None = None,
        tasks: Tasks | None = None,
    ) -> AsyncSubscription:
        hearing = Hearing(events, tasks)
        subscription = AsyncSubscription(self._routines, hearing)
        self._subscriptions.add(subscription)
        await self._routines.run(hearing.begin())
        return subscription

    async def unsubscribe(self, subscription: AsyncSubscription) -> None:
        await arguments.record(subscription, AsyncSubscription, "subscription").close()

    # --- results --------------------------------------------------------------------------------

    async def submit_task_with_callback(
        self, new: AnyTask, callback: Callable[[TaskResult], object]
    ) -> str:
        arguments.callback(callback)

        async def submit() -> list[str]:
            return [await self.submit_task(new)]

        (task_id,) = await (await self._reporting()).submit(submit, callback)
        return task_id

    async def submit_task_with_channel(
        self, new: AnyTask, channel: "asyncio.Queue[TaskResult]"
    ) -> str:
        self._enter()
        return await self.submit_task_with_callback(new, self._channels.writer(channel))

    async def submit_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        if callback is None:
            return (await self.submit_batch(tasks)).task_ids
        results = BatchResults(arguments.callback(callback))

        async def submit() -> list[str]:
            return results.of(await self.submit_batch(tasks))

        return await (await self._reporting()).submit(submit, results)

    async def submit_scheduled_batch_tasks_async(
        self,
        tasks: Iterable[AnyTask],
        at: datetime,
        callback: Callable[[list[TaskResult]], object] | None = None,
    ) -> list[str]:
        parse_time(at, "at")
        return await self.submit_batch_tasks_async(later(tasks, at), callback)

    async def on_end(self, task_id: OfTask, callback: Callable[[TaskResult], object]) -> None:
        arguments.callback(callback)
        name = arguments.task_id(task_id)
        await (await self._reporting()).add(name, callback)

    async def _reporting(self) -> AsyncReporter:
        self._enter()
        async with self._reporter_lock:
            if self._reporter is None or not self._reporter.is_alive:
                self._reporter = await AsyncReporter(self._routines).begin()
            return self._reporter

    # --- waiting for many tasks -----------------------------------------------------------------

    async def submit_batch_tasks(
        self,
        tasks: Iterable[AnyTask],
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[TaskResult]:
        timeout, on_progress = ends.waits(timeout, on_progress)
        return await self.wait_batch(
            await self.submit_batch(tasks), timeout=timeout, on_progress=on_progress
        )

    async def wait_batch(
        self,
        batch_id: OfBatch,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[TaskResult]:
        return await self._routines.run(ends.wait_batch(batch_id, timeout, on_progress))

    def as_completed(
        self, ids: Collection[OfTask], *, timeout: float | None = None
    ) -> AsyncGenerator[TaskResult, None]:
        return self._routines.items(ends.as_completed(ids, timeout, time.monotonic()))

    async def _ask(self, request: Request[T]) -> T:
        return await self._routines.run(protocol.ask(request))
