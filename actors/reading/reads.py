"""Reads of many rows, as of one moment, in any thread."""

from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

from ..core.activity.reports import history, usage
from ..core.messages import (
    FindDueDeliveries,
    FindEndedDeliveries,
    FindExpired,
    FindExpiredFiles,
    FindForgottenBatches,
    FindLiveTasks,
    ListBatches,
    ListDeliveries,
    ListFiles,
    ListJobs,
    ListTasks,
    ReadAudit,
    ReadHistory,
    ReadLines,
    ReadUsage,
)
from ..store.batches import lines_of, live_tasks_of
from ..store.expiry import find_expired
from ..store.page_reader import scan
from ..store.task_store import TaskStore

ReadRows = (
    FindDueDeliveries
    | FindEndedDeliveries
    | FindExpired
    | FindExpiredFiles
    | FindForgottenBatches
    | FindLiveTasks
    | ListBatches
    | ListDeliveries
    | ListFiles
    | ListJobs
    | ListTasks
    | ReadAudit
    | ReadHistory
    | ReadLines
    | ReadUsage
)


def reading(store: TaskStore, command: ReadRows) -> Callable[[], Any]:
    """Return a function that finds the reply in the store as it is now.

    It touches only the store and may run in any thread. Raises `Invalid` for a wrong cursor,
    `NotFound` for a file to continue after that is not there.
    """
    match command:
        case ListTasks(task_filter, reasons):
            return scan(store, task_filter, reasons)
        case FindExpired():
            return find_expired(store, command)
        case ListBatches(limit, tenant):
            return store.batches.newest(limit, tenant)
        case ListJobs():
            return store.batches.jobs(command)
        case FindForgottenBatches(before):
            return store.batches.forgotten(before)
        case ReadLines(batch_id, after):
            return lines_of(store, batch_id, after)
        case FindLiveTasks(batch_id, after):
            return live_tasks_of(store, batch_id, after)
        case ListFiles(limit, after, purpose, ascending, tenant):
            return store.files.page(limit, after, purpose, ascending, tenant)
        case FindExpiredFiles(now):
            return store.files.expired(now)
        case ListDeliveries(limit, cursor, task_id, status, tenant):
            return store.deliveries.page(limit, cursor, task_id, status, tenant)
        case FindDueDeliveries(now, receiver):
            return store.deliveries.due(now, receiver)
        case FindEndedDeliveries(before, keep, limit):
            return store.deliveries.ended(before, keep, limit)
        case ReadAudit(query):
            return store.audit.reading(query)
        case ReadHistory(of):
            digest = partial(history, query=of)
            return store.history.reading(of.resolution, of.first, of.last, digest)
        case ReadUsage(of):
            total = partial(usage, query=of)
            return store.history.reading(of.resolution, of.first, of.last, total)
        case _:
            assert_never(command)
