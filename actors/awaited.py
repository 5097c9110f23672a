"""Which tasks' ends are awaited, by whom, and what becomes of those heard of too early."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from ollama_queue.actors.core.listing import MAX_LIMIT, TaskFilter, TaskPage
from ollama_queue.actors.core.records import BatchSubmitted, TaskResult
from ollama_queue.actors.verbs import result_of

Callback = Callable[[TaskResult], Any]


class Gathering:
    """All results of a batch, for one callback that gets them at once, in the order given.

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

    def of(self, made: BatchSubmitted) -> list[str]:
        """Says whose results it gathers, before the first of them comes."""
        self.batch_id = made.batch_id
        self._results = dict.fromkeys(made.task_ids)
        self._unheard = set(made.task_ids)
        return made.task_ids

    def hear(self, task_id: str) -> bool:
        """A task has ended. True when the results are to be read."""
        self._unheard.discard(task_id)
        return not self._unheard

    def first_page(self) -> TaskFilter:
        self._unheard = {task_id for task_id, result in self._results.items() if result is None}
        self._unlisted = set(self._unheard)
        return TaskFilter(batch_id=[self.batch_id], include=["result"], limit=MAX_LIMIT)

    def take(self, asked: TaskFilter, page: TaskPage) -> TaskFilter | None:
        """A page that was read. Returns the next one to ask for, None behind the last."""
        for task in page.tasks:
            self._unlisted.discard(task.id)
            if task.id in self._unheard and task.status.is_final:
                self.add(result_of(task))
        return None if page.cursor is None else replace(asked, cursor=page.cursor)

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
    def is_complete(self) -> bool:
        return not self._unheard

    def call(self) -> Any:
        """What the callback returns, which gets the results."""
        return self._callback([each for each in self._results.values() if each is not None])


class Awaited:
    """The callbacks of tasks. A task's end may be heard of before its id is known here.

    Not locked; the one who uses it from several threads does that.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, Callback | Gathering] = {}
        self._expected = self._renewals = 0  # submits on their way; subscriptions replaced
        self._missed: set[str] = set()  # ends of tasks that nobody awaited, while some are expected

    def __len__(self) -> int:
        return len(self._callbacks)

    def expect(self) -> int:
        """A submit begins; give what this returns to `known`."""
        self._expected += 1
        return self._renewals

    def known(
        self, ids: Collection[str], callback: Callback | Gathering, expected: int
    ) -> Collection[str]:
        """These are the submit's tasks. Returns those to look at: they may have ended unheard."""
        self._callbacks.update(dict.fromkeys(ids, callback))
        late = ids if expected != self._renewals else self._missed.intersection(ids)
        return self._one_each(late)

    def settled(self) -> None:
        """A submit has ended, well or badly."""
        self._expected -= 1
        if not self._expected:
            self._missed.clear()

    def renewed(self) -> None:
        """What happened meanwhile was not heard of."""
        self._renewals += 1

    def of(self, task_id: str) -> Callback | Gathering | None:
        """Who waits for this task, which may have ended."""
        if task_id not in self._callbacks and self._expected:
            self._missed.add(task_id)
        return self._callbacks.get(task_id)

    def ids(self) -> Sequence[str]:
        """All to look at."""
        return self._one_each(self._callbacks)

    def _one_each(self, ids: Iterable[str]) -> Sequence[str]:
        """Of tasks that are read together, one is enough."""
        gathered = ((self._callbacks[task_id], task_id) for task_id in ids)
        looks = {who if isinstance(who, Gathering) else each: each for who, each in gathered}
        return tuple(looks.values())

    def forget(self, ids: Iterable[str]) -> None:
        """The ends of these tasks have been told."""
        for task_id in ids:
            del self._callbacks[task_id]
