"""Request and response bodies of native routes that are not records of the queue."""

from datetime import datetime

from msgspec import Struct

from ..actors.core.model.task_filter import TaskFilter
from ..actors.core.model.tasks import NewTask


class ManyTasks(Struct):
    """Tasks to submit atomically."""

    tasks: list[NewTask]


class Ids(Struct, forbid_unknown_fields=True):
    """These tasks: 1 to 1,000."""

    ids: list[str]


class Matching(Struct, forbid_unknown_fields=True):
    """All tasks that match: up to 500 in one call."""

    filter: TaskFilter


class Level(Struct, forbid_unknown_fields=True):
    """A priority level by name, or as a number from 1 to 15."""

    priority: int | str


class IdsAndLevel(Ids):
    """These tasks, and their new priority."""

    priority: int | str


class MatchingAndLevel(Matching):
    """All tasks that match, and their new priority."""

    priority: int | str


class ModelToLoad(Struct, forbid_unknown_fields=True):
    """A model, and how long it stays in memory after its last use: "10m", seconds, or -1."""

    model: str
    keep_alive: str | float | None = None


class ModelToUnload(Struct, forbid_unknown_fields=True):
    """A model in the server's memory."""

    model: str


class CronTrial(Struct, forbid_unknown_fields=True):
    """A cron expression whose next `count` times to preview."""

    cron_expr: str
    timezone: str = "UTC"
    count: int = 5


class Times(Struct):
    next: list[datetime]


class Done(Struct):
    status: str


class Ready(Struct, omit_defaults=True):
    """The queue takes tasks. `warnings` say what keeps them from running, if anything does. `role`
    is that of this server among several: `leader` or `follower`."""

    status: str
    warnings: list[str]
    role: str | None = None
