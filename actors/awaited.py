"""Which tasks' ends are awaited, by whom, and what becomes of those heard of too early."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ollama_queue.actors.core.records import TaskResult

Callback = Callable[[TaskResult], Any]


class Awaited:
    """The callbacks of tasks. A task's end may be heard of before its id is known here.

    Not locked; the one who uses it from several threads does that.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, Callback] = {}
        self._expected = self._renewals = 0  # submits on their way; subscriptions replaced
        self._missed: set[str] = set()  # ends of tasks that nobody awaited, while some are expected

    def __len__(self) -> int:
        return len(self._callbacks)

    def expect(self) -> int:
        """A submit begins; give what this returns to `known`."""
        self._expected += 1
        return self._renewals

    def known(self, ids: Collection[str], callback: Callback, expected: int) -> Collection[str]:
        """These are the submit's tasks. Returns those that may have ended unheard."""
        self._callbacks.update(dict.fromkeys(ids, callback))
        return ids if expected != self._renewals else self._missed.intersection(ids)

    def settled(self) -> None:
        """A submit has ended, well or badly."""
        self._expected -= 1
        if not self._expected:
            self._missed.clear()

    def renewed(self) -> None:
        """What happened meanwhile was not heard of."""
        self._renewals += 1

    def is_awaited(self, task_id: str) -> bool:
        """Whether somebody waits for this task, which may have ended."""
        if task_id not in self._callbacks and self._expected:
            self._missed.add(task_id)
        return task_id in self._callbacks

    def ids(self) -> Sequence[str]:
        return tuple(self._callbacks)

    def take(self, task_id: str) -> Callback:
        """The callback of a task that has ended; it is called once."""
        return self._callbacks.pop(task_id)


class Gathering:
    """The callback of each task of a batch: passes on all results at once, in the order given."""

    def __init__(self, callback: Callable[[list[TaskResult]], Any]) -> None:
        self._callback = callback
        self._results: dict[str, TaskResult | None] = {}
        self._left = 0

    def of(self, task_ids: list[str]) -> list[str]:
        """Says whose results it gathers, before the first of them comes."""
        self._results = dict.fromkeys(task_ids)
        self._left = len(task_ids)
        return task_ids

    def __call__(self, result: TaskResult) -> Any:
        """What the callback returns, once it is called."""
        self._results[result.task_id] = result
        self._left -= 1
        if not self._left:
            return self._callback([each for each in self._results.values() if each is not None])
        return None
