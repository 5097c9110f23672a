"""Calls callbacks when tasks end: one at a time, in the order in which the tasks end."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ..base.mailbox import Closed
from ..core.model.errors import Unavailable
from ..core.model.event_names import ENDS
from ..core.model.tasks import Task
from .awaited import Awaited, BatchResults, Callback, by_themselves
from .ends import ENDS_AHEAD, ending, gather
from .outage import OUTAGE_PATIENCE_S
from .steps import CallBack, Listen, Log, ReadTask, Receive, Release, Routine, Source, Step


class Callbacks:
    """The callbacks of any number of tasks, over one subscription.

    Tasks are read at the start and after each restart of the queue. Call `begin`, then keep `run`
    running while others call `submit` and `add`; pass a `lock` if they do so in other threads.
    """

    def __init__(self, lock: AbstractContextManager[Any] | None = None) -> None:
        self._awaited = Awaited(lock)
        self._source: Source
        self._is_closed = False

    def begin(self) -> Routine[None]:
        """Subscribe to the ends of tasks. Raises `Unavailable`."""
        self._source = yield from Listen(ENDS, ahead=ENDS_AHEAD)

    def submit(
        self,
        submit: Routine[list[str]] | Step[list[str]],
        callback: Callback | BatchResults,
    ) -> Routine[list[str]]:
        """Run `submit`, which returns task ids, and await the end of each task."""
        late: Collection[str] = ()
        expected = self._awaited.expect()
        try:
            ids = yield from submit
            late = self._awaited.known(ids, callback, expected)
        finally:
            self._awaited.settled()
        self._put(late)
        return ids

    def add(self, task_id: str, callback: Callback) -> Routine[None]:
        """Await the end of an existing task."""
        ended: list[Task] = []

        def find() -> Routine[list[str]]:
            task = yield from ReadTask(task_id)
            if task.status.is_final:
                ended.append(task)
            return [task.id]

        yield from self.submit(find(), callback)
        self._put(ended)

    def _put(self, items: Iterable[str | Task]) -> None:
        for item in items:  # lost only if the mailbox is replaced, and then all tasks are read
            self._source.mailbox.put(item)

    def close(self) -> Routine[None]:
        self._is_closed = True
        self._source.close()
        yield from Release(self._source)

    def run(self) -> Routine[None]:
        """Call callbacks until this or the queue is closed."""
        try:
            while not self._is_closed:
                try:
                    yield from self._follow()
                except (Closed, Unavailable) as lost:
                    if self._is_closed or (isinstance(lost, Closed) and lost.message == "shutdown"):
                        return
                yield from self._begin_anew()
        except Unavailable as gone:
            yield from Log("error", "callbacks have stopped: %s", (gone.message,))
        finally:
            if self._awaited:
                message = "the queue is closed: callbacks of %d tasks were not called"
                yield from Log("warning", message, (len(self._awaited),))

    def _follow(self) -> Routine[None]:
        for task_id in self._awaited.ids():
            yield from self._look(task_id)
        while True:
            item = yield from Receive(self._source)
            if isinstance(item, str):
                yield from self._look(item)
            else:
                yield from self._hear((item if isinstance(item, Task) else item.task).id)

    def _begin_anew(self) -> Routine[None]:
        """Subscribe again. Raises `Unavailable` if the queue stays unavailable."""
        yield from Release(self._source)
        self._source = yield from Listen(ENDS, patience_s=OUTAGE_PATIENCE_S, ahead=ENDS_AHEAD)
        self._awaited.renewed()  # now, not earlier: all ends until here were missed
        if self._is_closed:
            yield from self.close()

    def _hear(self, task_id: str) -> Routine[None]:
        """Handle the end of a task."""
        who = self._awaited.of(task_id)
        full = [each for each in who if isinstance(each, BatchResults) and each.hear(task_id)]
        yield from self._tell(task_id, [*full, *by_themselves(who)])

    def _look(self, task_id: str) -> Routine[None]:
        """Check whether a task has ended."""
        yield from self._tell(task_id, self._awaited.of(task_id))

    def _tell(self, task_id: str, who: Sequence[Callback | BatchResults]) -> Routine[None]:
        """Call those callbacks whose tasks have all ended."""
        for each in who:
            if isinstance(each, BatchResults):
                yield from self._gather(each)
        if by_themselves(who) and (result := (yield from ending(task_id))) is not None:
            for callback in self._awaited.take(task_id):
                yield from CallBack(task_id, partial(callback, result))

    def _gather(self, batch: BatchResults) -> Routine[None]:
        yield from gather(batch)
        if batch.is_complete:
            self._awaited.forget(batch)
            yield from CallBack(next(iter(batch.ids)), batch.call)
