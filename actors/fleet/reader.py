"""Answers reads on a server that does not lead, from what the leader has stored."""

from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

from ..base.actor import Actor, tell
from ..base.cooperation import YieldControl, never_yield
from ..base.inbox import Promise
from ..base.thread_pool import ThreadPool
from ..core.messages.cron_ticker import GetCron, ListCrons
from ..core.messages.persistence import (
    GetBatch,
    GetDelivery,
    GetFile,
    GetTask,
    GetTenants,
    ListBatches,
    ListDeliveries,
    ListFiles,
    ListJobs,
    ListTasks,
    ReadAudit,
    Scanned,
)
from ..core.messages.reader import Read, ToReader
from ..core.messages.replies import StoredTask
from ..core.model.errors import NotFound, QueueError, Unavailable
from ..reading.reads import reading
from ..store.encoding import decode_record
from ..store.postgres.connections import PostgresError
from ..store.postgres.store import PostgresStore
from ..store.task_store import TaskStore, no_task

AT_ONCE = 3  # reads: as many as the store has connections, but for one
CLOSE_S = 5.0


class Reader(Actor):
    """Reads in threads of its own, each time anew, as of one moment.

    What was acknowledged is committed, so whoever asks after that is answered with it. If the
    database does not answer, the reply is `Unavailable`.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        open_store: Callable[[], PostgresStore],
    ) -> None:
        super().__init__(report, yield_control)
        self.open_store = open_store
        self.reads: dict[int, Promise[Any] | None] = {}  # by ticket
        self.tickets = 0

    def on_start(self) -> None:
        """Raises `Unavailable` if the store cannot be opened."""
        self.store = self.open_store()
        self.threads = ThreadPool("ollama-queue-read", AT_ONCE)

    def on_close(self) -> bool:
        if not self.threads.finish(CLOSE_S):
            return False
        self.store.close()
        return True

    def handle(self, message: ToReader) -> None:
        if isinstance(message, Scanned):
            promise = self.reads.pop(message.ticket)
            if message.error is not None:
                raise OSError(f"read: {message.error}")
            self.keep(promise, message.found)
            return
        self.tickets = ticket = self.tickets + 1
        self.reads[ticket] = self.later(message)
        me = self.actor_ref
        self.threads.submit(
            partial(_read, self.store, message),
            lambda found, error: tell(me, Scanned(ticket, found, error)),
        )


def _read(store: TaskStore, command: Read) -> Any:
    """The reply to `command`, which may be a `QueueError`. May be called in any thread."""
    try:
        if isinstance(command, GetTask | GetBatch | GetFile | GetDelivery | GetCron):
            return _one(store, command)
        return store.reading(partial(_many, store, command))()
    except QueueError as error:
        return error.with_traceback(None)
    except PostgresError as error:
        return Unavailable(str(error), retry_after_s=1)


def _one(store: TaskStore, command: GetTask | GetBatch | GetFile | GetDelivery | GetCron) -> Any:
    """Read what one statement finds."""
    match command:
        case GetTask(task_id):
            record, spec, result = store.whole(task_id)
            if record is None or spec is None:
                raise no_task(task_id)
            return StoredTask(decode_record(record), spec, result)
        case GetBatch(batch_id):
            return store.batches.one(batch_id)
        case GetFile(file_id):
            return store.files.one(file_id)
        case GetDelivery(delivery_id):
            return store.deliveries.one(delivery_id)
        case GetCron(cron_id):
            return store.cron(cron_id) or NotFound(f"there is no cron {cron_id}", field="id")
        case _:
            assert_never(command)


def _many(
    store: TaskStore,
    command: GetTenants
    | ListTasks
    | ListBatches
    | ListJobs
    | ListFiles
    | ListDeliveries
    | ReadAudit
    | ListCrons,
) -> Any:
    """Read what takes several statements, all as of one moment."""
    match command:
        case GetTenants(task_ids):
            records = {task_id: store.record(task_id) for task_id in task_ids}
            return {task_id: each.tenant for task_id, each in records.items() if each is not None}
        case ListCrons():
            return store.crons()
        case _:
            return reading(store, command)()
