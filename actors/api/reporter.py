"""Calling back at the end of tasks."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from ..base.mailbox import Closed, Mailbox
from ..base.thread_pool import begin
from ..core.model.errors import NotFound, QueueError, Unavailable
from ..core.model.event_names import ENDS
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import Task, TaskResult
from .awaited import OUTAGE_PATIENCE_S, Awaited, BatchResults, Callback
from .verbs import result_of

log = logging.getLogger("ollama_queue")

FAILED = "the callback of task %s failed"
ENDS_AHEAD = 100_000


class Reporter(threading.Thread):
    """Calls back at the end of tasks: in the order of their ends, in this one thread.

    It subscribes once, whatever the number of tasks, and reads then: at the start and after each
    restart of the queue.
    """

    def __init__(
        self,
        listen: Callable[..., Callable[[], None]],
        read: Callable[[str], Task],
        read_page: Callable[[TaskFilter], TaskPage],
    ) -> None:
        super().__init__(name="ollama-queue-callbacks", daemon=True)
        self._listen, self._read, self._read_page = listen, read, read_page
        self._awaited = Awaited()
        self._lock = threading.Lock()  # of the above
        self._mailbox = Mailbox[Any](ENDS_AHEAD)
        self._leave = listen(self._mailbox, ENDS)
        self._is_closed = False
        begin(self)

    def submit(
        self, submit: Callable[[], list[str]], callback: Callback | BatchResults
    ) -> list[str]:
        """Submit tasks, of which `submit` returns the ids, and await the end of each."""
        late: Collection[str] = ()
        with self._lock:
            expected = self._awaited.expect()
        try:
            ids = submit()
            with self._lock:
                late = self._awaited.known(ids, callback, expected)
        finally:
            with self._lock:
                self._awaited.settled()
        for task_id in late:
            self._mailbox.put(task_id)  # lost only when the mailbox is replaced: then all are read
        return ids

    def add(self, task_id: str, callback: Callback) -> None:
        """Await the end of a task that there is already."""
        ended: list[Task] = []

        def find() -> list[str]:
            task = self._read(task_id)
            if task.status.is_final:
                ended.append(task)
            return [task.id]

        self.submit(find, callback)
        for task in ended:
            self._mailbox.put(task)

    def close(self) -> None:
        self._is_closed = True
        self._leave()
        self._mailbox.close("unsubscribed")

    def run(self) -> None:
        while not self._is_closed:
            try:
                self._look_at_all()
                while True:
                    item = self._mailbox.get()
                    if isinstance(item, str):
                        self._look(item)
                    else:
                        self._hear((item if isinstance(item, Task) else item.task).id)
            except (Closed, Unavailable) as lost:
                if not self._begin_anew(lost):
                    break
        if self._awaited:
            log.warning("%d tasks are not reported: the queue is closed", len(self._awaited))

    def _begin_anew(self, lost: QueueError) -> bool:
        """False when there is nothing more to hear."""
        if self._is_closed or (isinstance(lost, Closed) and lost.message == "shutdown"):
            return False
        self._leave()
        with self._lock:
            self._awaited.renewed()
        self._mailbox = Mailbox[Any](ENDS_AHEAD)
        try:
            self._leave = self._listen(self._mailbox, ENDS, patience=OUTAGE_PATIENCE_S)
        except Unavailable as error:
            log.error("no callbacks any more: %s", error.message)
            return False
        if self._is_closed:
            self.close()
        return True

    def _look_at_all(self) -> None:
        with self._lock:
            ids = self._awaited.ids()
        for task_id in ids:
            self._look(task_id)

    def _hear(self, task_id: str) -> None:
        """A task has ended."""
        who = self._who(task_id)
        full = [each for each in who if isinstance(each, BatchResults) and each.hear(task_id)]
        self._tell(task_id, [*full, *callbacks_of(who)])

    def _look(self, task_id: str) -> None:
        """A task may have ended."""
        self._tell(task_id, self._who(task_id))

    def _who(self, task_id: str) -> Sequence[Callback | BatchResults]:
        with self._lock:
            return self._awaited.of(task_id)

    def _tell(self, task_id: str, who: Sequence[Callback | BatchResults]) -> None:
        """Those of them for whom all has ended."""
        for each in who:
            if isinstance(each, BatchResults):
                self._gather(each)
        if callbacks_of(who) and (result := ending(self._read, task_id)) is not None:
            with self._lock:
                callbacks = self._awaited.take(task_id)
            for callback in callbacks:
                self._call(task_id, partial(callback, result))

    def _gather(self, batch: BatchResults) -> None:
        gather(batch, self._read, self._read_page)
        if batch.is_complete:
            with self._lock:
                self._awaited.forget(batch)
            self._call(next(iter(batch.ids)), batch.call)

    def _call(self, task_id: str, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException:  # one that calls sys.exit ends itself, not the callbacks of others
            log.exception(FAILED, task_id)


def callbacks_of(who: Sequence[Callback | BatchResults]) -> list[Callback]:
    """Those that await one task by itself."""
    return [each for each in who if not isinstance(each, BatchResults)]


def gather(
    batch: BatchResults, read: Callable[[str], Task], read_page: Callable[[TaskFilter], TaskPage]
) -> None:
    """Read the results that there are."""
    wanted: TaskFilter | None = batch.first_page()
    while wanted is not None:
        wanted = batch.take(wanted, read_page(wanted))
    for task_id in batch.unlisted:
        if (result := ending(read, task_id)) is not None:
            batch.add(result)


def ending(read: Callable[[str], Task], task_id: str) -> TaskResult | None:
    """How a task ended; None when it has not."""
    try:
        task = read(task_id)
    except NotFound as gone:
        return TaskResult(task_id, False, error=gone.message)
    return result_of(task) if task.status.is_final else None
