"""`AsyncClient`: the verbs of `QueueAPI` over HTTP, as coroutines."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import httpx

from ...actors.api.docstrings import documented
from ...actors.api.verbs import PageCollector
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask
from ...actors.core.intake.bulk import BulkResult, Filter, Verb, bulk
from ...actors.core.intake.filters import task_filter
from ...actors.core.model.crons import Cron, IfExists, NewCron
from ...actors.core.model.errors import Unavailable
from ...actors.core.model.stats import BackendState, Minute, QueueStats
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
from .. import routes
from . import address, async_reader, connection, frames, requests
from .async_ends import AsyncLeave
from .async_listener import AsyncListener
from .async_reader import AsyncMailbox, AsyncReading
from .connection_pool import ConnectionPool
from .requests import Request

T = TypeVar("T")


@documented
class AsyncClient(AsyncListener):
    """A queue on a server, for asyncio: `async with AsyncClient("localhost:7125") as queue`.

    The verbs, errors and addresses of `Client`, as coroutines; streams are async iterators. May be
    used by many tasks at once, in one event loop after another (`asyncio.run` twice): its
    connections and callbacks end with their loop. Raises `Conflict` where two run at the same time,
    and without asyncio. `timeout` (seconds) limits each request beyond its own waiting.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 30.0) -> None:
        self.url = address.full(address.usual() if url is None else url)
        self._timeout = connection.limit(timeout)
        self._options = connection.options(self.url, self._timeout)
        self._readings: WeakSet[AsyncReading] = WeakSet()
        self._is_closed = False
        super().__init__()

    def _begin(self) -> None:
        super()._begin()
        self._http = httpx.AsyncClient(
            **self._options, transport=ConnectionPool(self._options["verify"])
        )

    async def close(self) -> None:
        self._enter()
        self._is_closed = True
        await self._hang_up()
        for reading in list(self._readings):
            await reading.close()
        await self._http.aclose()

    aclose = close

    # --- tasks ----------------------------------------------------------------------------------

    async def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        return await self._ask(requests.submit(new, idempotency_key))

    async def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        return await self._ask(requests.submit_batch(tasks, idempotency_key))

    async def get_batch(self, batch_id: OfBatch) -> Batch:
        return await self._ask(requests.build(routes.GET_BATCH, batch_id))

    async def list_batches(self, limit: int = 100) -> list[Batch]:
        return await self._ask(requests.list_batches(limit))

    async def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        return await self._ask(requests.get_task(task_id, wait))

    async def get_task_status(self, task_id: OfTask) -> Status:
        return (await self.get_task(task_id)).status

    async def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        wait = connection.Wait(task_id, timeout)
        while True:
            try:
                task = await self.get_task(task_id, wait=wait.slice_s())
                if wait.is_over(task):
                    return task
            except Unavailable as error:
                if self._is_closed:
                    raise
                await asyncio.sleep(wait.pause_after(error))

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
        found = PageCollector(task_filter(filter))
        while found.following is not None:
            found.add(await self.list_page(found.following))
        return found.tasks

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

    async def get_history(self) -> list[Minute]:
        return await self._ask(requests.build(routes.GET_HISTORY))

    async def list_backends(self) -> list[BackendState]:
        return await self._ask(requests.build(routes.LIST_BACKENDS))

    async def drain_backend(self, name: str) -> BackendState:
        return await self._ask(requests.build(routes.DRAIN_BACKEND, name))

    async def resume_backend(self, name: str) -> BackendState:
        return await self._ask(requests.build(routes.RESUME_BACKEND, name))

    async def pause(self) -> None:
        await self._ask(requests.build(routes.PAUSE))

    async def resume(self) -> None:
        await self._ask(requests.build(routes.RESUME))

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

    # --- what is read as it comes ---------------------------------------------------------------

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> AsyncGenerator[Chunk, None]:
        wanted, timeout = arguments.task_id(task_id), arguments.seconds(timeout, "timeout")

        async def read(headers: Mapping[str, str], mailbox: AsyncMailbox[Chunk]) -> AsyncReading:
            response = await self._open(requests.stream_task(wanted, headers))
            return self._noted(AsyncReading(response, mailbox, frames.chunk))

        return async_reader.read_stream(read, timeout)

    async def listen(
        self,
        mailbox: AsyncMailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        patience: float = 0.0,
    ) -> AsyncLeave:
        request = requests.events(events, tasks)
        response = await async_reader.patiently(lambda: self._open(request), patience, self._http)
        return self._noted(AsyncReading(response, mailbox, frames.TakesEvents())).close

    def _noted(self, reading: AsyncReading) -> AsyncReading:
        self._readings.add(reading)
        return reading

    # --- carrying out ---------------------------------------------------------------------------

    async def _ask(self, request: Request[T]) -> T:
        """One request, and again when its answer was lost and it may be."""
        tries, options = connection.Tries(request), connection.sent(request, self._timeout)
        while True:
            try:
                return request.read(await self._answered(lambda: self._http.request(**options)))
            except Unavailable as error:
                if self._is_closed:
                    raise
                await asyncio.sleep(tries.pause_after(error))

    async def _open(self, request: Request[Any]) -> httpx.Response:
        """An answer that is read as it comes."""
        built = self._http.build_request(**connection.opened(request, self._timeout))
        return await self._answered(lambda: self._http.send(built, stream=True))

    async def _answered(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        if self._is_closed:
            raise Unavailable("this client is closed")
        self._enter()
        try:
            response = await send()
            if response.is_success:
                return response
            await response.aread()
        except httpx.TransportError as error:
            raise connection.lost(self.url, error) from None
        raise connection.refusal(response)
