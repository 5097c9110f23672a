"""What native routes take and answer that is no record of the queue."""

from datetime import datetime

from msgspec import Struct

from ..actors.core.model.task_filter import TaskFilter
from ..actors.core.model.tasks import NewTask


class ManyTasks(Struct):
    """Tasks to be taken on together, all of them or none."""

    tasks: list[NewTask]


class Ids(Struct, forbid_unknown_fields=True):
    """These tasks: 1 to 1,000."""

    ids: list[str]


class Matching(Struct, forbid_unknown_fields=True):
    """All tasks that match: 500 of them in one call."""

    filter: TaskFilter


class Level(Struct, forbid_unknown_fields=True):
    """A name of a level, or a number from 1 to 15."""

    priority: int | str


class IdsAndLevel(Ids):
    """These tasks, and the priority they are to have."""

    priority: int | str


class MatchingAndLevel(Matching):
    """All tasks that match, and the priority they are to have."""

    priority: int | str


class CronTrial(Struct, forbid_unknown_fields=True):
    """An expression to try out: when it would be due, the next `count` times."""

    cron_expr: str
    timezone: str = "UTC"
    count: int = 5


class Times(Struct):
    next: list[datetime]


class Done(Struct):
    status: str
