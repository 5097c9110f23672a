"""Which tasks' ends are awaited, by whom, and what becomes of those heard of too early."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec.structs import replace

from ..core.model.task_filter import MAX_LIMIT, TaskFilter, TaskPage
from ..core.model.tasks import BatchSubmitted, Status, Task, TaskResult

Callback = Callable[[TaskResult], Any]


class BatchResults:
    """All results of a batch, for one who gets them at once, in the order given.

    They are read when all of its tasks have ended, page by page: over HTTP, one by one would take
    many times as long. A reading begins with `first_page`, goes on with what `take` says, and ends
    with the tasks that no page had (`unlisted`): they are gone.
    """

    def __init__(self, callback: Callable[[list[TaskResult]], Any]) -> None:
        self.batch_id = ""
        self._callback = callback
        self._results: dict[str, TaskResult | None] = {}
        self._unheard: set[str] = set()  # have not ended, as far as is known
        self._unlisted: set[str] = set()  # of those, in the reading under way

    def of(self, submitted: BatchSubmitted) -> list[str]:
        """Says whose results it gathers, before the first of them comes."""
        self.batch_id = submitted.batch_id
        self._results = dict.fromkeys(submitted.task_ids)
        self._unheard = set(submitted.task_ids)
        return submitted.task_ids

    def hear(self, task_id: str) -> bool:
        """A task has ended. True when the results are to be read."""
        self._unheard.discard(task_id)
        return not self._unheard

    def first_page(self) -> TaskFilter:
        self._unheard = {task_id for task_id, result in self._results.items() if result is None}
        self._unlisted = set(self._unheard)
        return TaskFilter(batch_id=[self.batch_id], include=["result"], limit=MAX_LIMIT)

    def take(self, task_filter: TaskFilter, page: TaskPage) -> TaskFilter | None:
        """A page that was read. Returns the next one to ask for, None behind the last."""
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
        """How many have ended, as far as is known."""
        return len(self._results) - len(self._unheard)

    @property
    def is_complete(self) -> bool:
        return not self._unheard

    def call(self) -> Any:
        """What the callback returns, which gets the results."""
        return self._callback([each for each in self._results.values() if each is not None])


def members(batch_id: str) -> TaskFilter:
    """The first page of a batch's tasks, the last of them first."""
    return TaskFilter(batch_id=[batch_id], limit=MAX_LIMIT)


def following(task_filter: TaskFilter, page: TaskPage) -> TaskFilter | None:
    """The page behind this one; None where it was the last."""
    return None if page.cursor is None else replace(task_filter, cursor=page.cursor)


class Awaited:
    """The callbacks of tasks. A task's end may be heard of before its id is known here.

    `lock` is held during each call, for those who share it between threads.
    """

    def __init__(self, lock: AbstractContextManager[Any] | None = None) -> None:
        self._lock = lock or nullcontext()
        self._callbacks: dict[str, tuple[Callback | BatchResults, ...]] = {}
        self._expected = self._renewals = 0  # submits on their way; subscriptions replaced
        self._missed: set[str] = set()  # ends that came while some are expected

    def __len__(self) -> int:
        return len(self._callbacks)

    def expect(self) -> int:
        """A submit begins; give what this returns to `known`."""
        with self._lock:
            self._expected += 1
            return self._renewals

    def known(
        self, ids: Collection[str], callback: Callback | BatchResults, expected: int
    ) -> Collection[str]:
        """These are the submit's tasks. Returns those to look at: they may have ended unheard."""
        alone = (callback,)  # one for all: there may be a million
        with self._lock:
            for task_id in ids:
                before = self._callbacks.get(task_id)
                self._callbacks[task_id] = alone if before is None else (*before, callback)
            late = ids if expected != self._renewals else self._missed.intersection(ids)
            return self._one_each(late)

    def settled(self) -> None:
        """A submit has ended, well or badly."""
        with self._lock:
            self._expected -= 1
            if not self._expected:
                self._missed.clear()

    def renewed(self) -> None:
        """What happened meanwhile was not heard of."""
        with self._lock:
            self._renewals += 1

    def of(self, task_id: str) -> Sequence[Callback | BatchResults]:
        """Who waits for this task, which may have ended."""
        with self._lock:
            if self._expected:
                self._missed.add(task_id)  # somebody may be about to wait for it
            return self._callbacks.get(task_id, ())

    def ids(self) -> Sequence[str]:
        """All to look at."""
        with self._lock:
            return self._one_each(self._callbacks)

    def _one_each(self, ids: Iterable[str]) -> Sequence[str]:
        """Of tasks that are read together, one is enough."""
        awaited = ((who, each) for each in ids for who in self._callbacks[each])
        looks = {who if isinstance(who, BatchResults) else each: each for who, each in awaited}
        return tuple(dict.fromkeys(looks.values()))

    def take(self, task_id: str) -> Sequence[Callback]:
        """Who is to be told of this task's end by itself; they are forgotten."""
        with self._lock:
            whole = self._callbacks.get(task_id, ())
            self._keep(task_id, tuple(who for who in whole if isinstance(who, BatchResults)))
            return by_themselves(whole)

    def forget(self, batch: BatchResults) -> None:
        """The ends of its tasks have been told."""
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
    """Those that await one task by itself."""
    return [each for each in who if not isinstance(each, BatchResults)]


def result_of(task: Task) -> TaskResult:
    """How an ended task ended."""
    done = task.status is Status.COMPLETED
    error = None if done else task.error or str(task.status)
    return TaskResult(task.id, done, task.result, error)
