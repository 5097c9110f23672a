"""Verbs on many tasks: which tasks a verb applies to, and its results."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..model import limits
from ..model.errors import Invalid, QueueError, Unavailable
from ..model.task_filter import TaskFilter
from ..model.tasks import Priority, PublicRecord, Status
from . import arguments
from .arguments import OfTask
from .filters import task_filter
from .submission import parse_priority

MOST_IDS = limits.IDS  # per call: as many as a page of a list has
SLICE = 500  # of the tasks that a filter matches
LEVELS = range(1, 16)


class Verb(StrEnum):
    """A verb on many tasks; the values are those of the routes."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    PRIORITY = "priority"


# The statuses of the tasks that a verb by filter applies to.
MEANT_FOR: dict[Verb, tuple[Status, ...]] = {
    Verb.CANCEL: (Status.PENDING, Status.RUNNING),
    Verb.RETRY: (Status.FAILED, Status.CANCELLED),
    Verb.DELETE: (Status.COMPLETED, Status.FAILED, Status.CANCELLED),
    Verb.PRIORITY: (Status.PENDING, Status.RUNNING),
}
_OF_LISTS = ("sort", "limit", "offset", "include")
_ANY = TaskFilter()

Filter = TaskFilter | Mapping[str, Any]


class BulkError(Struct, PublicRecord, frozen=True):
    """Why a verb failed for the task `id`: the `code` and `message` of the `QueueError`."""

    id: str
    code: str
    message: str


class BulkResult(Struct, PublicRecord, frozen=True):
    """For how many tasks a verb is `done`; `errors` lists those for which it failed, and why.

    `left`: how many more tasks match the filter; None if there may be more and counting would
    require reading them all. Repeat until it is 0, or until `cursor` is None, passing that as the
    filter's cursor: this visits each task once, even one that matches again.
    """

    done: int
    errors: list[BulkError]
    left: int | None = 0
    cursor: str | None = None


class Bulk(Struct, frozen=True):
    """A verb and its tasks: those of `ids`, or those that `filter` matches.

    `level` is the new priority.
    """

    verb: Verb
    ids: list[str] | None = None
    filter: Filter | None = None
    level: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body of the HTTP request."""
        facts = {"ids": self.ids, "filter": self.filter, "priority": self.level}
        return {name: value for name, value in facts.items() if value is not None}


def bulk(
    verb: Verb,
    ids: Collection[OfTask] | None,
    filter: Filter | None,
    priority: int | Priority | str | None = None,
) -> Bulk:
    """Check a caller's arguments. Raises `Invalid`, naming the field."""
    if (ids is None) == (filter is None):
        raise Invalid("give either ids or a filter", field="ids")
    level = parse_priority(priority) if verb is Verb.PRIORITY else None
    filter = None if filter is None else task_filter(filter)
    return Bulk(verb, None if ids is None else check_ids(ids), filter, level)


def check_ids(ids: Collection[OfTask]) -> list[str]:
    """Each id once, in order. Raises `Invalid`."""
    return arguments.ids(ids, "ids", MOST_IDS)


def narrowed(verb: Verb, raw: Filter, level: int | None = None) -> TaskFilter | None:
    """Narrow a filter to the tasks that a verb applies to; None if there are none.

    Tasks that already have priority `level` are left out. Raises `Invalid`, also for a status
    that the verb does not apply to.
    """
    asked_filter, meant = task_filter(raw), MEANT_FOR[verb]
    for status in asked_filter.status:
        if status not in meant:
            takes = ", ".join(meant)
            raise Invalid(f"status {status} is not for {verb}: it takes {takes}", field="status")
    for name in _OF_LISTS:
        if getattr(asked_filter, name) != getattr(_ANY, name):
            raise Invalid(f"{name} is for lists: {verb} takes {SLICE} tasks at a time", field=name)
    levels = [each for each in asked_filter.priority or LEVELS if each != level]
    if not levels:
        return None
    return replace(
        asked_filter,
        status=asked_filter.status or list(meant),
        priority=asked_filter.priority if level is None else levels,
        limit=SLICE,
    )


def summed(ids: Sequence[str], answers: Sequence[Any], left: int | None) -> BulkResult:
    """The result of a verb. Raises `Unavailable` if no answer came for any task."""
    wrong = {
        task_id: answer
        for task_id, answer in zip(ids, answers, strict=True)
        if isinstance(answer, QueueError)
    }
    done = len(ids) - len(wrong)
    if wrong and not done and all(isinstance(error, Unavailable) for error in wrong.values()):
        raise next(iter(wrong.values()))
    errors = [BulkError(task_id, error.code, error.message) for task_id, error in wrong.items()]
    return BulkResult(done, errors, left)
