"""Calling back at the end of tasks."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any

from ollama_queue.actors.awaited import Awaited, Callback, Gathering
from ollama_queue.actors.core.errors import NotFound, QueueError, Unavailable
from ollama_queue.actors.core.events import ENDS
from ollama_queue.actors.core.listing import TaskFilter, TaskPage
from ollama_queue.actors.core.records import Task, TaskResult
from ollama_queue.actors.mailbox import Closed, Mailbox
from ollama_queue.actors.pool import begin
from ollama_queue.actors.verbs import result_of

log = logging.getLogger("ollama_queue")

FAILED = "the callback of task %s failed"
ENDS_AHEAD = 100_000
OUTAGE_PATIENCE_S = 30.0


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

    def submit(self, submit: Callable[[], list[str]], callback: Callback | Gathering) -> list[str]:
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
                        self._hear(item.task.id)
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
        if isinstance(who, Gathering) and not who.hear(task_id):
            return
        self._look(task_id)

    def _look(self, task_id: str) -> None:
        """A task may have ended."""
        who = self._who(task_id)
        if isinstance(who, Gathering):
            self._gather(who)
        elif who is not None and (result := ending(self._read, task_id)) is not None:
            self._call([task_id], lambda: who(result))

    def _who(self, task_id: str) -> Callback | Gathering | None:
        with self._lock:
            return self._awaited.of(task_id)

    def _gather(self, batch: Gathering) -> None:
        wanted: TaskFilter | None = batch.first_page()
        while wanted is not None:
            wanted = batch.take(wanted, self._read_page(wanted))
        for task_id in batch.unlisted:
            if (result := ending(self._read, task_id)) is not None:
                batch.add(result)
        if batch.is_complete:
            self._call(batch.ids, batch.call)

    def _call(self, ids: Iterable[str], callback: Callable[[], object]) -> None:
        with self._lock:
            self._awaited.forget(ids)
        try:
            callback()
        except BaseException:  # one that calls sys.exit ends itself, not the callbacks of others
            log.exception(FAILED, next(iter(ids)))


def ending(read: Callable[[str], Task], task_id: str) -> TaskResult | None:
    """How a task ended; None when it has not."""
    try:
        task = read(task_id)
    except NotFound as gone:
        return TaskResult(task_id, False, error=gone.message)
    return result_of(task) if task.status.is_final else None
