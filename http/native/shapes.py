"""What is sent and answered on native routes and is no record of the queue, for the document."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from ...actors.core.model.stats import QueueStats
from ...actors.core.model.task_filter import TaskFilter
from ...actors.core.model.tasks import NewTask, Status


class Accepted(Struct):
    """A task that was taken on. `position`: how many of its route run before it."""

    task_id: str
    status: Status
    position: int | None


class ManyTasks(Struct):
    """Tasks to be taken on together, all of them or none."""

    tasks: list[NewTask]


class Item(Struct):
    """How one task of a batch stands; `error` says why it has failed."""

    task_id: str
    status: Status
    result: Any
    error: str | None


class BatchAccepted(Struct, omit_defaults=True):
    """A batch that was taken on; `results` are given where the request waits for them."""

    batch_id: str
    task_ids: list[str]
    results: list[Item] = []


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


class Added(Struct):
    id: str


class CronTrial(Struct, forbid_unknown_fields=True):
    """An expression to try out: when it would be due, the next `count` times."""

    cron_expr: str
    timezone: str = "UTC"
    count: int = 5


class Times(Struct):
    next: list[datetime]


class Cloud(Struct, frozen=True):
    """What Ollama's own clients look for at this address: that nothing goes to its cloud."""

    disabled: bool = True
    source: str = "ollama-queue"


class StatusAnswer(QueueStats, frozen=True, kw_only=True):
    """How the queue is doing, for clients of Ollama, too."""

    cloud: Cloud = Cloud()


class Done(Struct):
    status: str
