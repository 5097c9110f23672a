"""`Client`: the verbs of `QueueAPI` over HTTP."""

from collections.abc import Collection, Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import httpx

from ...actors.api.composed_verbs import ComposedVerbs
from ...actors.api.threads import Threads
from ...actors.core.activity.audit import AuditPage
from ...actors.core.activity.failures import FailureGroup
from ...actors.core.fleet.servers import FleetServer
from ...actors.core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask
from ...actors.core.intake.bulk import BulkResult, Filter, Verb, bulk
from ...actors.core.model.access_keys import KeyCreated, KeyInfo, NewKey
from ...actors.core.model.crons import Cron, IfExists, NewCron
from ...actors.core.model.deliveries import Delivery, DeliveryPage
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
)
from .. import routes, wire
from . import address, connection, protocol, requests
from .connections import Connections
from .requests import Request

T = TypeVar("T")


class Client(ComposedVerbs):
    """A queue on a server: `Client("localhost:7125")`, `Client("https://host")`.

    The default URL is `OLLAMA_QUEUE_SERVER`, or this machine at port 7125. May be used from several
    threads. `timeout` (seconds above 0) limits each request, in addition to the request's own
    waiting time; `transport` is an httpx transport to send requests with. `api_key` is sent with
    each, by default `OLLAMA_QUEUE_API_KEY` if that is set. All verbs raise `QueueError`:
    `Unavailable` if the server cannot be reached.
    """

    _agent = wire.CLIENT

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        api_key: str | None = None,
    ) -> None:
        self.url = address.full(address.usual() if url is None else url)
        limit = connection.limit(timeout)
        key = address.usual_key(api_key)
        self._connections = Connections(self.url, limit, transport, key, self._agent)
        super().__init__(Threads(self._connections.takes))

    def close(self) -> None:
        if not self._connections.is_another_process_s:
            self._hang_up()
            self._connections.close()

    # --- tasks ----------------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        return self._ask(requests.submit(new, idempotency_key))

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        return self._ask(requests.submit_batch(tasks, idempotency_key))

    def get_batch(self, batch_id: OfBatch) -> Batch:
        return self._ask(requests.build(routes.GET_BATCH, batch_id))

    def cancel_batch(self, batch_id: OfBatch) -> Batch:
        return self._ask(requests.build(routes.CANCEL_BATCH, batch_id))

    def list_batches(self, limit: int = 100) -> list[Batch]:
        return self._ask(requests.list_batches(limit))

    def list_deliveries(
        self,
        *,
        task_id: OfTask | None = None,
        status: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DeliveryPage:
        return self._ask(requests.list_deliveries(task_id, status, limit, cursor))

    def retry_delivery(self, delivery_id: str) -> Delivery:
        return self._ask(requests.retry_delivery(delivery_id))

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        return self._ask(requests.get_task(task_id, wait))

    def get_task_status(self, task_id: OfTask) -> Status:
        return self.get_task(task_id).status

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        return self._threads.run(protocol.wait(task_id, timeout))

    def cancel_task(self, task_id: OfTask) -> Task:
        return self._ask(requests.build(routes.CANCEL_TASK, task_id))

    def update_task_priority(self, task_id: OfTask, priority: int | Priority | str) -> Task:
        return self._ask(requests.update_task_priority(task_id, priority))

    def retry_task(self, task_id: OfTask) -> Task:
        return self._ask(requests.build(routes.RETRY_TASK, task_id))

    def delete_task(self, task_id: OfTask) -> Task:
        return self._ask(requests.build(routes.DELETE_TASK, task_id))

    def list_page(self, filter: TaskFilter | Mapping[str, Any] | None = None) -> TaskPage:
        return self._ask(requests.list_page(filter))

    def cancel_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._ask(requests.do_bulk(bulk(Verb.CANCEL, ids, filter)))

    def retry_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._ask(requests.do_bulk(bulk(Verb.RETRY, ids, filter)))

    def delete_tasks(
        self, ids: Collection[OfTask] | None = None, *, filter: Filter | None = None
    ) -> BulkResult:
        return self._ask(requests.do_bulk(bulk(Verb.DELETE, ids, filter)))

    def reprioritize_tasks(
        self,
        ids: Collection[OfTask] | None = None,
        *,
        filter: Filter | None = None,
        priority: int | Priority | str,
    ) -> BulkResult:
        return self._ask(requests.do_bulk(bulk(Verb.PRIORITY, ids, filter, priority)))

    # --- the queue ------------------------------------------------------------------------------

    def get_queue_stats(self) -> QueueStats:
        return self._ask(requests.build(routes.GET_STATUS))

    def get_history(
        self, span: str = "1h", *, by: str | None = None, tenant: str | None = None
    ) -> list[Period]:
        return self._ask(requests.get_history(span, by, tenant))

    def get_usage(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Collection[str] | None = None,
        tenant: str | None = None,
    ) -> UsageReport:
        return self._ask(requests.get_usage(since, until, by, tenant))

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
        return self._ask(
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

    def list_backends(self) -> list[BackendState]:
        return self._ask(requests.build(routes.LIST_BACKENDS))

    def list_servers(self) -> list[FleetServer]:
        return self._ask(requests.build(routes.LIST_SERVERS))

    def list_keys(self) -> list[KeyInfo]:
        return self._ask(requests.build(routes.LIST_KEYS))

    def add_key(self, new: NewKey | Mapping[str, Any]) -> KeyCreated:
        return self._ask(requests.add_key(new))

    def rotate_key(self, name: str) -> KeyCreated:
        return self._ask(requests.build(routes.ROTATE_KEY, name))

    def revoke_key(self, name: str) -> KeyInfo:
        return self._ask(requests.build(routes.REVOKE_KEY, name))

    def drain_backend(self, name: str) -> BackendState:
        return self._ask(requests.build(routes.DRAIN_BACKEND, name))

    def resume_backend(self, name: str) -> BackendState:
        return self._ask(requests.build(routes.RESUME_BACKEND, name))

    def load_model(
        self, name: str, model: str, *, keep_alive: str | float | None = None
    ) -> BackendState:
        return self._ask(requests.load_model(name, model, keep_alive))

    def unload_model(self, name: str, model: str) -> BackendState:
        return self._ask(requests.unload_model(name, model))

    def pause(self) -> None:
        self._ask(requests.build(routes.PAUSE))

    def resume(self) -> None:
        self._ask(requests.build(routes.RESUME))

    def list_failures(self, limit: int = 100, *, tenant: str | None = None) -> list[FailureGroup]:
        return self._ask(requests.list_failures(limit, tenant))

    def take_snapshot(self) -> StoreSnapshot:
        return self._ask(requests.take_snapshot())

    # --- crons ----------------------------------------------------------------------------------

    def add_cron_task(
        self, new: NewCron | Mapping[str, Any], *, if_exists: IfExists | None = None
    ) -> str:
        return self._ask(requests.add_cron(new, if_exists)).id

    def list_cron_tasks(self) -> list[Cron]:
        return self._ask(requests.build(routes.LIST_CRONS))

    def get_cron_task(self, cron_id: OfCron) -> Cron:
        return self._ask(requests.build(routes.GET_CRON, cron_id))

    def update_cron_task(
        self, cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]
    ) -> Cron:
        return self._ask(requests.update_cron(cron_id, changes))

    def remove_cron_task(self, cron_id: OfCron) -> Cron:
        return self._ask(requests.build(routes.REMOVE_CRON, cron_id))

    def enable_cron_task(self, cron_id: OfCron) -> Cron:
        return self._ask(requests.build(routes.ENABLE_CRON, cron_id))

    def disable_cron_task(self, cron_id: OfCron) -> Cron:
        return self._ask(requests.build(routes.DISABLE_CRON, cron_id))

    def run_cron_task(self, cron_id: OfCron) -> Submitted:
        return self._ask(requests.build(routes.RUN_CRON, cron_id))

    # --- streams --------------------------------------------------------------------------------

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        return self._threads.items(protocol.stream_task(task_id, timeout))

    def _ask(self, request: Request[T]) -> T:
        return self._threads.run(protocol.ask(request))
