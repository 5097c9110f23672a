"""What native routes take and answer that is no record of the queue."""

from datetime import datetime

from msgspec import Struct

from ..actors.core.model.task_filter import TaskFilter
from ..actors.core.model.tasks import NewTask


class ManyTasks(Struct):
    """Tasks to submit together, all or none."""

    tasks: list[NewTask]


class Ids(Struct, forbid_unknown_fields=True):
    """These tasks: 1 to 1,000."""

    ids: list[str]


class Matching(Struct, forbid_unknown_fields=True):
    """All tasks that match: up to 500 in one call."""

    filter: TaskFilter


class Level(Struct, forbid_unknown_fields=True):
    """The name of a level, or a number from 1 to 15."""

    priority: int | str


class IdsAndLevel(Ids):
    """These tasks, and their new priority."""

    priority: int | str


class MatchingAndLevel(Matching):
    """All tasks that match, and their new priority."""

    priority: int | str


class CronTrial(Struct, forbid_unknown_fields=True):
    """A cron expression to preview: its next `count` times."""

    cron_expr: str
    timezone: str = "UTC"
    count: int = 5


class Times(Struct):
    next: list[datetime]


class Done(Struct):
    status: str
