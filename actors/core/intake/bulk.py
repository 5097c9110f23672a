"""Many tasks at once: which of them a verb can be meant for, and what came of it."""

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

MOST_IDS = limits.IDS  # in one call: as many as a page of a list has
SLICE = 500  # of the tasks that a filter matches
LEVELS = range(1, 16)


class Verb(StrEnum):
    """What can be done to many tasks; the values are those of the routes."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    PRIORITY = "priority"


# The tasks that a verb by filter takes: what is done to one of them can be done.
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
    """Why it was not done to the task `id`: `code` and `message` of the `QueueError`."""

    id: str
    code: str
    message: str


class BulkResult(Struct, PublicRecord, frozen=True):
    """To how many tasks it was `done`; `errors` name those to which it was not, and why.

    `left`: how many more tasks the filter matches, None where more may be left and it takes
    reading them all to know how many. Do it again until it is 0, or until `cursor` is None with
    that as the filter's cursor: this comes to each task once, even to one that matches again.
    """

    done: int
    errors: list[BulkError]
    left: int | None = 0
    cursor: str | None = None


class Bulk(Struct, frozen=True):
    """What to do to which tasks: those of `ids`, or those that `filter` matches.

    `level` is the priority that they are to have.
    """

    verb: Verb
    ids: list[str] | None = None
    filter: Filter | None = None
    level: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As it is asked for over HTTP."""
        facts = {"ids": self.ids, "filter": self.filter, "priority": self.level}
        return {name: value for name, value in facts.items() if value is not None}


def bulk(
    verb: Verb,
    ids: Collection[OfTask] | None,
    filter: Filter | None,
    priority: int | Priority | str | None = None,
) -> Bulk:
    """Check what a caller gave. Raises `Invalid`, naming the field."""
    if (ids is None) == (filter is None):
        raise Invalid("give either ids or a filter", field="ids")
    level = parse_priority(priority) if verb is Verb.PRIORITY else None
    filter = None if filter is None else task_filter(filter)
    return Bulk(verb, None if ids is None else check_ids(ids), filter, level)


def check_ids(ids: Collection[OfTask]) -> list[str]:
    """Each id once, in the order given. Raises `Invalid`."""
    return arguments.ids(ids, "ids", MOST_IDS)


def narrowed(verb: Verb, raw: Filter, level: int | None = None) -> TaskFilter | None:
    """Of the tasks that a filter matches those that a verb is meant for; None: there is none.

    A task that has priority `level` already is not meant. Raises `Invalid`, also for a status
    that cannot be meant.
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
    """What came of it. Raises `Unavailable` where nothing was done because nobody answered."""
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
