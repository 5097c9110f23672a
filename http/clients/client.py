"""`Client`: the verbs of `QueueAPI` over HTTP."""

import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import httpx

from ...actors.api.subscription import Leave, Listener
from ...actors.base.mailbox import Mailbox
from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import AnyTask, OfBatch, OfCron, OfTask
from ...actors.core.intake.bulk import BulkResult, Filter, Verb, bulk
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
from . import address, connection, frames, reader, requests
from .requests import Request

T = TypeVar("T")


class Client(Listener):
    """A queue on a server: `Client("localhost:7125")`, `Client("https://host")`.

    Without a URL it is at `OLLAMA_QUEUE_SERVER`, else on this machine at port 7125. May be used
    from several threads. `timeout` (seconds) limits each request beyond its own waiting. All verbs
    raise `QueueError`: `Unavailable` when the server cannot be reached.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 30.0) -> None:
        super().__init__()
        self.url = address.full(address.usual() if url is None else url)
        self._timeout = connection.limit(timeout)
        self._http = self._dial()
        self._pid = os.getpid()
        self._readings: WeakSet[reader.Reading] = WeakSet()

    def _dial(self) -> httpx.Client:
        return httpx.Client(**connection.options(self.url, self._timeout))

    def close(self) -> None:
        if os.getpid() != self._pid:
            return
        self._hang_up()
        for reading in list(self._readings):
            reading.close()
        self._http.close()

    # --- tasks ----------------------------------------------------------------------------------

    def submit(self, new: AnyTask, *, idempotency_key: str | None = None) -> Submitted:
        return self._ask(requests.submit(new, idempotency_key))

    def submit_batch(
        self, tasks: Iterable[AnyTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        return self._ask(requests.submit_batch(tasks, idempotency_key))

    def get_batch(self, batch_id: OfBatch) -> Batch:
        return self._ask(requests.build(routes.GET_BATCH, batch_id))

    def list_batches(self, limit: int = 100) -> list[Batch]:
        return self._ask(requests.list_batches(limit))

    def get_task(self, task_id: OfTask, *, wait: float | None = None) -> Task:
        return self._ask(requests.get_task(task_id, wait))

    def get_task_status(self, task_id: OfTask) -> Status:
        return self.get_task(task_id).status

    def wait(self, task_id: OfTask, *, timeout: float | None = None) -> Task:
        wait = connection.Wait(task_id, timeout)
        while True:
            try:
                task = self.get_task(task_id, wait=wait.slice_s())
                if wait.is_over(task):
                    return task
            except Unavailable as error:
                if self._http.is_closed:
                    raise
                time.sleep(wait.pause_after(error))

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

    def get_history(self) -> list[Minute]:
        return self._ask(requests.build(routes.GET_HISTORY))

    def list_backends(self) -> list[BackendState]:
        return self._ask(requests.build(routes.LIST_BACKENDS))

    def drain_backend(self, name: str) -> BackendState:
        return self._ask(requests.build(routes.DRAIN_BACKEND, name))

    def resume_backend(self, name: str) -> BackendState:
        return self._ask(requests.build(routes.RESUME_BACKEND, name))

    def pause(self) -> None:
        self._ask(requests.build(routes.PAUSE))

    def resume(self) -> None:
        self._ask(requests.build(routes.RESUME))

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

    # --- what is read as it comes ---------------------------------------------------------------

    def stream_task(
        self, task_id: OfTask, *, timeout: float | None = None
    ) -> Generator[Chunk, None, None]:
        wanted, timeout = arguments.task_id(task_id), arguments.seconds(timeout, "timeout")

        def read(headers: Mapping[str, str], mailbox: Mailbox[Chunk]) -> reader.Reading:
            response = self._open(requests.stream_task(wanted, headers))
            return self._noted(reader.Reading(response, mailbox, frames.chunk))

        return reader.read_stream(read, timeout)

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        patience: float = 0.0,
    ) -> Leave:
        request = requests.events(events, tasks)
        response = reader.patiently(lambda: self._open(request), patience, self._http)
        return self._noted(reader.Reading(response, mailbox, frames.TakesEvents())).close

    def _noted(self, reading: reader.Reading) -> reader.Reading:
        self._readings.add(reading)
        return reading

    # --- carrying out ---------------------------------------------------------------------------

    def _ask(self, request: Request[T]) -> T:
        """One request, and again when its answer was lost and it may be."""
        tries, options = connection.Tries(request), connection.sent(request, self._timeout)
        while True:
            try:
                return request.read(self._answered(lambda: self._http.request(**options)))
            except Unavailable as error:
                if self._http.is_closed:
                    raise
                time.sleep(tries.pause_after(error))

    def _open(self, request: Request[Any]) -> httpx.Response:
        """An answer that is read as it comes."""
        built = self._http.build_request(**connection.opened(request, self._timeout))
        return self._answered(lambda: self._http.send(built, stream=True))

    def _answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        if self._http.is_closed:
            raise Unavailable("this client is closed")
        if os.getpid() != self._pid:  # after a fork: on one socket, two would mix their answers
            self._http, self._pid = self._dial(), os.getpid()
        try:
            response = send()
            if response.is_success:
                return response
            response.read()
        except httpx.TransportError as error:
            raise connection.lost(self.url, error) from None
        raise connection.refusal(response)
