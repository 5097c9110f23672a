"""Bulk actions on the tasks of an embedded queue."""

from collections.abc import Callable

from msgspec.structs import replace

from ..api.verbs import full_page
from ..base.actor import ask_all
from ..core.intake.bulk import Bulk, BulkResult, Verb, narrowed, summed
from ..core.messages import Cancel, Command, Delete, Reprioritize, Retry
from ..core.model.errors import QueueError
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import Record
from ..supervision.switchboard import Switchboard

TOGETHER = 100  # commands sent at once


def do_bulk(
    bulk: Bulk,
    switchboard: Switchboard,
    list_page: Callable[[TaskFilter], TaskPage],
    record: Callable[[Bulk, int], None],
) -> BulkResult:
    """Apply an action to many tasks, given by their ids or by a filter; `record` saves the entry
    of the audit log, ahead of it."""
    if bulk.filter is None:
        record(bulk, len(bulk.ids or []))
        return _do_each(bulk, bulk.ids or [], 0, switchboard)
    eligible = narrowed(bulk.verb, bulk.filter, bulk.level)
    page = TaskPage([]) if eligible is None else full_page(list_page, eligible)
    ids = [task.id for task in page.tasks]
    if ids:
        record(bulk, len(ids))
    left = None if page.total is None else max(0, page.total - len(ids))
    if left == 0 or page.cursor is None:
        return _do_each(bulk, ids, 0, switchboard)
    return replace(_do_each(bulk, ids, left, switchboard), cursor=page.cursor)


def _do_each(bulk: Bulk, ids: list[str], left: int | None, switchboard: Switchboard) -> BulkResult:
    """Send commands in groups: a group shares an fsync, and other callers run in between."""
    scheduler = switchboard.current().scheduler
    answers: list[Record | QueueError] = []
    for first in range(0, len(ids), TOGETHER):
        part = [_command(bulk, task_id) for task_id in ids[first : first + TOGETHER]]
        replies = ask_all(scheduler, part)
        answers += replies
    return summed(ids, answers, left)


def _command(bulk: Bulk, task_id: str) -> Command[Record]:
    match bulk.verb:
        case Verb.CANCEL:
            return Cancel(task_id)
        case Verb.RETRY:
            return Retry(task_id)
        case Verb.DELETE:
            return Delete(task_id)
        case Verb.PRIORITY:
            assert bulk.level is not None
            return Reprioritize(task_id, bulk.level)
