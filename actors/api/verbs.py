"""Parts of verbs that all three classes share: lists over many pages, scheduled tasks."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from ..core.intake import arguments
from ..core.intake.arguments import AnyTask
from ..core.intake.submission import parse_time
from ..core.model.errors import error_at
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import (
    NewTask,
    Task,
)


class PageCollector:
    """Collects up to the filter's `limit` of tasks from pages that may be shorter.

    `following` is the filter of the next page to request, or None when the list is complete.
    """

    def __init__(self, task_filter: TaskFilter) -> None:
        self.following: TaskFilter | None = task_filter
        self.tasks: list[Task] = []
        self.cursor: str | None = None
        self.total: int | None = None
        self._wanted = task_filter

    def add(self, page: TaskPage) -> None:
        if not self.tasks:
            self.total = page.total
        self.tasks += page.tasks
        self.cursor = page.cursor
        left = self._wanted.limit - len(self.tasks)
        self.following = None
        if page.cursor is not None and left > 0:
            self.following = replace(self._wanted, limit=left, offset=0, cursor=page.cursor)


def full_page(list_page: Callable[[TaskFilter], TaskPage], task_filter: TaskFilter) -> TaskPage:
    """A page with as many tasks as `task_filter.limit` allows."""
    collector = PageCollector(task_filter)
    while collector.following is not None:
        collector.add(list_page(collector.following))
    return TaskPage(collector.tasks, collector.cursor, collector.total)


def scheduled(new: AnyTask, at: datetime) -> AnyTask:
    """Return `new`, scheduled for `at`. Raises `Invalid`."""
    task, due = arguments.task(new), parse_time(at, "at")
    if isinstance(task, NewTask):
        return replace(task, scheduled_at=due)
    return {**task, "scheduled_at": due}


def later(tasks: Iterable[AnyTask], at: datetime) -> Iterator[AnyTask]:
    """Yield `tasks`, scheduled for `at`. Raises `Invalid`, naming the task."""
    due = parse_time(at, "at")
    for index, task in enumerate(arguments.tasks(tasks)):
        with error_at(f"tasks[{index}]"):
            yield scheduled(task, due)
