"""Calling back at the end of tasks: in the order of their ends, one after another."""

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
    """One subscription, whatever the number of tasks; it reads at the start and after each restart
    of the queue. `begin` it, and have `run` go on beside those who `submit` and `add`.

    `lock` is for those who do that in other threads.
    """

    def __init__(self, lock: AbstractContextManager[Any] | None = None) -> None:
        self._awaited = Awaited(lock)
        self._source: Source
        self._is_closed = False

    def begin(self) -> Routine[None]:
        """Hear of ends from now on. Raises `Unavailable`."""
        self._source = yield from Listen(ENDS, ahead=ENDS_AHEAD)

    def submit(
        self,
        submit: Routine[list[str]] | Step[list[str]],
        callback: Callback | BatchResults,
    ) -> Routine[list[str]]:
        """Submit tasks, of which `submit` gives the ids, and await the end of each."""
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
        """Await the end of a task that there is already."""
        ended: list[Task] = []

        def find() -> Routine[list[str]]:
            task = yield from ReadTask(task_id)
            if task.status.is_final:
                ended.append(task)
            return [task.id]

        yield from self.submit(find(), callback)
        self._put(ended)

    def _put(self, items: Iterable[str | Task]) -> None:
        for item in items:  # lost only when the mailbox is replaced: then all are read
            self._source.mailbox.put(item)

    def close(self) -> Routine[None]:
        self._is_closed = True
        self._source.close()
        yield from Release(self._source)

    def run(self) -> Routine[None]:
        """Call back until this is closed, or the queue for good."""
        try:
            while not self._is_closed:
                try:
                    yield from self._follow()
                except (Closed, Unavailable) as lost:
                    if self._is_closed or (isinstance(lost, Closed) and lost.message == "shutdown"):
                        return
                yield from self._begin_anew()
        except Unavailable as gone:
            yield from Log("error", "no callbacks any more: %s", (gone.message,))
        finally:
            if self._awaited:
                message = "%d tasks are not reported: the queue is closed"
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
        """Raises `Unavailable` where the queue does not come back."""
        yield from Release(self._source)
        self._source = yield from Listen(ENDS, patience_s=OUTAGE_PATIENCE_S, ahead=ENDS_AHEAD)
        self._awaited.renewed()  # now, not before: ends until here were not heard
        if self._is_closed:
            yield from self.close()

    def _hear(self, task_id: str) -> Routine[None]:
        """A task has ended."""
        who = self._awaited.of(task_id)
        full = [each for each in who if isinstance(each, BatchResults) and each.hear(task_id)]
        yield from self._tell(task_id, [*full, *by_themselves(who)])

    def _look(self, task_id: str) -> Routine[None]:
        """A task may have ended."""
        yield from self._tell(task_id, self._awaited.of(task_id))

    def _tell(self, task_id: str, who: Sequence[Callback | BatchResults]) -> Routine[None]:
        """Those of them for whom all has ended."""
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
