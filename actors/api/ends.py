"""Waiting for the ends of many tasks, in the thread of whoever waits: by one subscription."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from ..base.mailbox import Closed, Mailbox
from ..core.intake import arguments
from ..core.model.errors import BatchTimeout, QueueError, Unavailable
from ..core.model.event_names import ENDS
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import BatchSubmitted, Task, TaskResult
from .awaited import BatchResults, WaitDeadline
from .reporter import ENDS_AHEAD, ending, gather

T = TypeVar("T")

Listen = Callable[..., Callable[[], None]]
ReadTask = Callable[[str], Task]
OnProgress = Callable[[int, int], object]


def waits(
    timeout: float | None, on_progress: OnProgress | None
) -> tuple[float | None, OnProgress | None]:
    """Two arguments, checked."""
    return arguments.seconds(timeout, "timeout"), arguments.on_progress(on_progress)


def unfinished(left: int, total: int, timeout: float | None) -> str:
    have = "has" if left == 1 else "have"
    return str(arguments.late(f"{left} of {total} tasks {have} not ended", timeout))


def ends(
    listen: Listen, waiting: WaitDeadline, look: Callable[[str | None], Generator[T, None, None]]
) -> Generator[T, None, None]:
    """What `look` makes of the id of each task that ends, and of None, where any may have ended
    unheard: at the start and after each loss of the queue."""
    while True:
        mailbox = Mailbox[Any](ENDS_AHEAD)
        leave = listen(mailbox, ENDS, waiting.followed, patience=waiting.patience_s)
        try:
            yield from look(None)
            while True:
                yield from look(_next(mailbox, waiting))
        except (Closed, Unavailable) as lost:
            pause_s = waiting.pause_after(lost)
        finally:
            leave()
        time.sleep(pause_s)


def _next(mailbox: Mailbox[Any], waiting: WaitDeadline) -> str:
    try:
        event = mailbox.get(waiting.left_s)
    except TimeoutError:
        raise waiting.late() from None
    waiting.heard()
    return event.task.id  # type: ignore[no-any-return]


def completed(
    listen: Listen, read: ReadTask, ids: Sequence[str], timeout: float | None
) -> Generator[TaskResult, None, None]:
    """The results of tasks, each as it ends; `timeout` is counted from here."""
    left = dict.fromkeys(ids)

    def look(ended: str | None) -> Generator[TaskResult, None, None]:
        for task_id in tuple(left) if ended is None else (ended,):
            if task_id in left and (result := ending(read, task_id)) is not None:
                del left[task_id]
                yield result

    def results() -> Generator[TaskResult, None, None]:
        if left:
            for result in ends(listen, waiting, look):
                yield result
                if not left:
                    return

    waiting = WaitDeadline(
        ids, timeout, lambda: TimeoutError(unfinished(len(left), len(ids), timeout))
    )
    return results()


def gathered(
    listen: Listen,
    read: ReadTask,
    read_page: Callable[[TaskFilter], TaskPage],
    made: BatchSubmitted,
    timeout: float | None,
    on_progress: OnProgress | None,
) -> list[TaskResult]:
    """The results of a batch once all have ended. Errors name the batch."""
    batch = BatchResults(list)
    batch.of(made)
    told = -1

    def look(ended: str | None) -> Generator[None, None, None]:
        if ended is None or batch.hear(ended):
            gather(batch, read, read_page)
        yield

    try:
        with closing(ends(listen, batch_waiting(batch, made, timeout), look)) as steps:
            for _ in steps:
                if on_progress is not None and batch.done != told:
                    told = batch.done
                    on_progress(told, batch.total)
                if batch.is_complete:
                    break
    except QueueError as error:
        error.batch_id, error.task_ids = made.batch_id, made.task_ids
        raise
    return batch.call()  # type: ignore[no-any-return]


def batch_waiting(batch: BatchResults, made: BatchSubmitted, timeout: float | None) -> WaitDeadline:
    def late() -> BatchTimeout:
        words = unfinished(batch.total - batch.done, batch.total, timeout)
        return BatchTimeout(words, made.batch_id, made.task_ids)

    return WaitDeadline(made.task_ids, timeout, late)
