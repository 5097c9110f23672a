"""Tracks which callbacks await which tasks, including tasks that end before their id is known."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec.structs import replace

from ..core.model.task_filter import MAX_LIMIT, TaskFilter, TaskPage
from ..core.model.tasks import BatchSubmitted, Status, Task, TaskResult

Callback = Callable[[TaskResult], Any]


class BatchResults:
    """Collects the results of a batch, in submission order, for one callback.

    They are read page by page when all tasks have ended: over HTTP, reading them one by one would
    take many times as long. A reading starts with `first_page`, continues with the filters that
    `take` returns, and ends with the tasks that were on no page (`unlisted`): they were deleted.
    """

    def __init__(self, callback: Callable[[list[TaskResult]], Any]) -> None:
        self.batch_id = ""
        self._callback = callback
        self._results: dict[str, TaskResult | None] = {}
        self._unheard: set[str] = set()  # not known to have ended
        self._unlisted: set[str] = set()  # of those, not yet seen in the current reading

    def of(self, submitted: BatchSubmitted) -> list[str]:
        """Set the tasks whose results to collect, before the first result. Returns their ids."""
        self.batch_id = submitted.batch_id
        self._results = dict.fromkeys(submitted.task_ids)
        self._unheard = set(submitted.task_ids)
        return submitted.task_ids

    def hear(self, task_id: str) -> bool:
        """Record that a task has ended. True if all have, and the results should be read."""
        self._unheard.discard(task_id)
        return not self._unheard

    def first_page(self) -> TaskFilter:
        self._unheard = {task_id for task_id, result in self._results.items() if result is None}
        self._unlisted = set(self._unheard)
        return TaskFilter(batch_id=[self.batch_id], include=["result"], limit=MAX_LIMIT)

    def take(self, task_filter: TaskFilter, page: TaskPage) -> TaskFilter | None:
        """Take the results from a page. Returns the filter of the next page, or None."""
        for task in page.tasks:
            self._unlisted.discard(task.id)
            if task.id in self._unheard and task.status.is_final:
                self.add(result_of(task))
        return following(task_filter, page)

    def add(self, result: TaskResult) -> None:
        self._unheard.discard(result.task_id)
        self._results[result.task_id] = result

    @property
    def unlisted(self) -> Collection[str]:
        return tuple(self._unlisted)

    @property
    def ids(self) -> Collection[str]:
        return self._results.keys()

    @property
    def total(self) -> int:
        return len(self._results)

    @property
    def done(self) -> int:
        """The number of tasks known to have ended."""
        return len(self._results) - len(self._unheard)

    @property
    def is_complete(self) -> bool:
        return not self._unheard

    def call(self) -> Any:
        """Call the callback with the results and return what it returns."""
        return self._callback([each for each in self._results.values() if each is not None])


def members(batch_id: str) -> TaskFilter:
    """The filter for the first page of a batch's tasks, last submitted first."""
    return TaskFilter(batch_id=[batch_id], limit=MAX_LIMIT)


def following(task_filter: TaskFilter, page: TaskPage) -> TaskFilter | None:
    """The filter for the page after `page`, or None if it was the last."""
    return None if page.cursor is None else replace(task_filter, cursor=page.cursor)


class Awaited:
    """The callbacks of tasks. A task's end may be reported before its id is known here.

    `lock` is held during each call, for use from several threads.
    """

    def __init__(self, lock: AbstractContextManager[Any] | None = None) -> None:
        self._lock = lock or nullcontext()
        self._callbacks: dict[str, tuple[Callback | BatchResults, ...]] = {}
        self._expected = self._renewals = 0  # submits in progress; subscriptions replaced
        self._missed: set[str] = set()  # ends reported while submits are in progress

    def __len__(self) -> int:
        return len(self._callbacks)

    def expect(self) -> int:
        """Begin a submit. Pass the returned value to `known`."""
        with self._lock:
            self._expected += 1
            return self._renewals

    def known(
        self, ids: Collection[str], callback: Callback | BatchResults, expected: int
    ) -> Collection[str]:
        """Register a submit's tasks. Returns the ids to read: they may have ended unnoticed."""
        alone = (callback,)  # one shared tuple: there may be a million ids
        with self._lock:
            for task_id in ids:
                before = self._callbacks.get(task_id)
                self._callbacks[task_id] = alone if before is None else (*before, callback)
            late = ids if expected != self._renewals else self._missed.intersection(ids)
            return self._one_each(late)

    def settled(self) -> None:
        """End a submit, successful or not."""
        with self._lock:
            self._expected -= 1
            if not self._expected:
                self._missed.clear()

    def renewed(self) -> None:
        """Record that the subscription was replaced: events in between were missed."""
        with self._lock:
            self._renewals += 1

    def of(self, task_id: str) -> Sequence[Callback | BatchResults]:
        """The callbacks that await this task, which may have ended."""
        with self._lock:
            if self._expected:
                self._missed.add(task_id)  # its callback may be about to be registered
            return self._callbacks.get(task_id, ())

    def ids(self) -> Sequence[str]:
        """All ids to read."""
        with self._lock:
            return self._one_each(self._callbacks)

    def _one_each(self, ids: Iterable[str]) -> Sequence[str]:
        """Reduce ids to one per batch, since a batch is read as one."""
        awaited = ((who, each) for each in ids for who in self._callbacks[each])
        looks = {who if isinstance(who, BatchResults) else each: each for who, each in awaited}
        return tuple(dict.fromkeys(looks.values()))

    def take(self, task_id: str) -> Sequence[Callback]:
        """Remove and return the callbacks for this single task; batches stay."""
        with self._lock:
            whole = self._callbacks.get(task_id, ())
            self._keep(task_id, tuple(who for who in whole if isinstance(who, BatchResults)))
            return by_themselves(whole)

    def forget(self, batch: BatchResults) -> None:
        """Remove a batch whose results have been delivered."""
        with self._lock:
            for task_id in batch.ids:
                whole = self._callbacks.get(task_id, ())
                self._keep(task_id, tuple(who for who in whole if who is not batch))

    def _keep(self, task_id: str, callbacks: tuple[Callback | BatchResults, ...]) -> None:
        if callbacks:
            self._callbacks[task_id] = callbacks
        else:
            self._callbacks.pop(task_id, None)


def by_themselves(who: Sequence[Callback | BatchResults]) -> list[Callback]:
    """The callbacks among them that await a single task, not a batch."""
    return [each for each in who if not isinstance(each, BatchResults)]


def result_of(task: Task) -> TaskResult:
    """The result of an ended task."""
    done = task.status is Status.COMPLETED
    error = None if done else task.error or str(task.status)
    return TaskResult(task.id, done, task.result, error, task.model_used)
