"""All results of a batch in one callback: read page by page once all of its tasks have ended."""

import threading
from collections.abc import Callable
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from ollama_queue.actors.api.threads import Reporter, Threads
from ollama_queue.actors.base.mailbox import Mailbox
from ollama_queue.actors.core.model.errors import NotFound
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.task_filter import TaskFilter, TaskPage
from ollama_queue.actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Status,
    Task,
    TaskResult,
    TaskType,
)
from ollama_queue.actors.routines.awaited import BatchResults
from tests.support.recorders import PATIENCE_S, START

PAGE = 2


def a_task(task_id: str, status: Status) -> Task:
    return Task(
        id=task_id,
        type=TaskType.EMBED,
        model="m",
        priority=5,
        status=status,
        created_at=START,
        queued_at=START,
        max_retries=3,
        result=task_id if status is Status.COMPLETED else None,
    )


class Shelf:
    """A queue with one batch, of which the statuses are set by hand; pages have two tasks."""

    def __init__(self, ids: str) -> None:
        self.made = BatchSubmitted("batch", list(ids))
        self.statuses = dict.fromkeys(ids, Status.RUNNING)
        self.mailbox: Mailbox[Any] = Mailbox()
        self.pages = 0
        self.reads: list[str] = []
        self.was_read = threading.Condition()
        self.called: SimpleQueue[list[TaskResult]] = SimpleQueue()

    def listen(self, mailbox: Mailbox[Any], *_: Any, **__: Any) -> Callable[[], None]:
        self.mailbox = mailbox
        return lambda: None

    def get_task(self, task_id: str) -> Task:
        self.reads.append(task_id)
        if task_id not in self.statuses:
            raise NotFound(f"there is no task {task_id}")
        return a_task(task_id, self.statuses[task_id])

    def get_batch(self, batch_id: str) -> Batch:
        raise NotFound("nobody waits for it by its id")

    def list_page(self, filter: TaskFilter) -> TaskPage:
        assert (filter.batch_id, filter.include) == (["batch"], ["result"])
        ids = sorted(self.statuses, reverse=True)
        start = int(filter.cursor or 0)
        tasks = [a_task(each, self.statuses[each]) for each in ids[start : start + PAGE]]
        more = start + PAGE < len(ids)
        with self.was_read:
            self.pages += 1
            self.was_read.notify()
        return TaskPage(tasks, str(start + PAGE) if more else None)

    def report(self) -> Reporter:
        """A reporter that has looked at all there was, and awaits the batch."""
        reporter = Reporter(Threads.over(self))
        first: SimpleQueue[TaskResult] = SimpleQueue()
        reporter.submit(lambda: ["gone"], first.put)
        self.tell("gone")
        first.get(timeout=PATIENCE_S)
        self.reads.clear()
        gathering = BatchResults(self.called.put)
        reporter.submit(lambda: gathering.of(self.made), gathering)
        return reporter

    def end(self, task_id: str, status: Status = Status.COMPLETED) -> None:
        self.statuses[task_id] = status
        self.tell(task_id)

    def tell(self, task_id: str) -> None:
        now = datetime.now(START.tzinfo)
        self.mailbox.put(EventRecord("task_completed", a_task(task_id, Status.COMPLETED), now, 1))

    def results(self) -> list[tuple[str, Any, str | None]]:
        found = self.called.get(timeout=PATIENCE_S)
        return [(result.task_id, result.data, result.error) for result in found]


def test_they_are_read_in_pages_once_the_last_has_ended() -> None:
    shelf = Shelf("abcde")
    reporter = shelf.report()
    for task_id in "ecabd":
        shelf.end(task_id)

    assert shelf.results() == [(task_id, task_id, None) for task_id in "abcde"]
    assert (shelf.pages, shelf.reads) == (3, [])
    reporter.close()


def test_one_that_was_deleted_meanwhile_has_an_error() -> None:
    shelf = Shelf("abc")
    reporter = shelf.report()
    shelf.end("a")
    shelf.end("b")
    del shelf.statuses["a"]
    shelf.end("c", Status.CANCELLED)

    assert shelf.results() == [
        ("a", None, "there is no task a"),
        ("b", "b", None),
        ("c", None, "cancelled"),
    ]
    assert shelf.reads == ["a"]
    reporter.close()


def test_one_that_runs_anew_is_waited_for() -> None:
    shelf = Shelf("abc")
    reporter = shelf.report()
    shelf.tell("b")  # and was retried at once
    shelf.end("a")
    shelf.end("c")
    with shelf.was_read:
        assert shelf.was_read.wait_for(lambda: shelf.pages == 2, PATIENCE_S)
    shelf.end("b")

    assert shelf.results() == [(task_id, task_id, None) for task_id in "abc"]
    assert shelf.pages == 4
    reporter.close()


def test_those_that_ended_before_the_submit_was_answered_count() -> None:
    shelf = Shelf("abc")
    reporter = Reporter(Threads.over(shelf))
    gathering = BatchResults(shelf.called.put)

    def submit() -> list[str]:
        for task_id in "abc":
            shelf.end(task_id)
        return gathering.of(shelf.made)

    reporter.submit(submit, gathering)

    assert shelf.results() == [(task_id, task_id, None) for task_id in "abc"]
    reporter.close()


def test_after_a_restart_a_batch_is_read_once() -> None:
    shelf = Shelf("abc")
    reporter = shelf.report()
    shelf.statuses = dict.fromkeys("abc", Status.COMPLETED)
    shelf.mailbox.close("restarted")

    assert shelf.results() == [(task_id, task_id, None) for task_id in "abc"]
    assert (shelf.pages, shelf.reads) == (2, [])
    reporter.close()
