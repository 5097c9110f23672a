"""Waits for the ends of many tasks over one subscription; survives a restart of the queue."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

from ..base.mailbox import Closed
from ..core.intake import arguments
from ..core.intake.arguments import OfBatch, OfTask
from ..core.model import limits
from ..core.model.errors import BatchTimeout, NotFound, QueueError, Unavailable
from ..core.model.event_names import ENDS
from ..core.model.task_filter import TaskFilter
from ..core.model.tasks import BatchSubmitted, TaskResult
from .awaited import BatchResults, following, members, result_of
from .outage import OUTAGE_PATIENCE_S, PAUSE_S, Outage
from .steps import (
    Deliver,
    Invoke,
    Listen,
    Now,
    ReadBatch,
    ReadPage,
    ReadTask,
    Receive,
    Release,
    Routine,
    Sleep,
    Source,
)

ENDS_AHEAD = 100_000  # events buffered before they are read
FOLLOWED = 100  # up to so many tasks, subscribe to these only

OnProgress = Callable[[int, int], object]


def ending(task_id: str) -> Routine[TaskResult | None]:
    """The result of a task, or None if it has not ended."""
    try:
        task = yield from ReadTask(task_id)
    except NotFound as gone:
        return TaskResult(task_id, False, error=gone.message)
    return result_of(task) if task.status.is_final else None


def gather(batch: BatchResults) -> Routine[None]:
    """Read the results of a batch's ended tasks."""
    task_filter: TaskFilter | None = batch.first_page()
    while task_filter is not None:
        task_filter = batch.take(task_filter, (yield from ReadPage(task_filter)))
    for task_id in batch.unlisted:
        if (result := (yield from ending(task_id))) is not None:
            batch.add(result)


def batch_members(batch: OfBatch) -> Routine[BatchSubmitted]:
    """The ids of a batch's tasks, in submission order. Raises `NotFound`."""
    name, ids = arguments.batch_id(batch), arguments.members(batch)
    if ids is not None:
        return BatchSubmitted(name, ids)
    yield from ReadBatch(name)  # check that it exists
    ids = []
    task_filter: TaskFilter | None = members(name)
    while task_filter is not None:
        page = yield from ReadPage(task_filter)
        ids += [task.id for task in page.tasks]
        task_filter = following(task_filter, page)
    return BatchSubmitted(name, ids[::-1])


class EndWatch:
    """Reports the ends of tasks until `deadline`, or until an outage of the queue lasts too long.

    `late` creates the error to raise after the deadline.
    """

    def __init__(
        self, ids: Collection[str], deadline: float | None, late: Callable[[], TimeoutError]
    ) -> None:
        self._followed = frozenset(ids) if len(ids) <= FOLLOWED else None
        self._deadline, self._late = deadline, late
        self._outage = Outage()
        self._source: Source | None = None

    def next(self) -> Routine[str | None]:
        """Return the id of a task that has ended.

        None if any task may have ended unnoticed: at the start and after each lost connection.
        """
        if self._source is None:
            left = yield from self._left_s()
            patience = OUTAGE_PATIENCE_S if left is None else min(left, OUTAGE_PATIENCE_S)
            self._source = yield from Listen(ENDS, self._followed, patience, ENDS_AHEAD)
            return None
        try:
            event = yield from Receive(self._source, (yield from self._left_s()))
        except TimeoutError:
            raise self._late() from None
        self._outage.end()
        task_id: str = event.task.id
        return task_id

    def wait_out(self, lost: QueueError) -> Routine[None]:
        """Pause after the queue was `lost`, or raise an error if it has been lost for too long."""
        if self._source is None:
            raise lost  # `Listen` has already waited long enough
        yield from self.close()
        is_cut = isinstance(lost, Closed) and lost.message in ("restarted", "lagged")
        if isinstance(lost, Closed):
            lost = Unavailable("the queue was closed during the wait")
            if not is_cut:
                raise lost from None
        is_too_long = self._outage.is_too_long((yield from Now()))
        if (yield from self._left_s()) == 0:
            raise (self._late() if is_cut else lost) from None
        if is_too_long:
            raise lost from None
        yield from Sleep(PAUSE_S)

    def close(self) -> Routine[None]:
        source, self._source = self._source, None
        if source is not None:
            yield from Release(source)

    def _left_s(self) -> Routine[float | None]:
        return None if self._deadline is None else max(0.0, self._deadline - (yield from Now()))


def as_completed(ids: Collection[OfTask], timeout: float | None, since: float) -> Routine[None]:
    """Deliver the results of tasks as they end.

    Raises `TimeoutError` if not all have ended `timeout` seconds after `since`. Raises `Invalid`
    when called, not when iterated.
    """
    task_ids = arguments.ids(ids, "ids", limits.AWAITED, least=0)
    return _completed(task_ids, arguments.seconds(timeout, "timeout"), since)


def _completed(ids: Sequence[str], timeout: float | None, since: float) -> Routine[None]:
    left = dict.fromkeys(ids)
    looks: deque[str] = deque()

    def late() -> TimeoutError:
        return TimeoutError(_unfinished(len(left), len(ids), timeout))

    watch = EndWatch(ids, _deadline(timeout, since), late)
    try:
        while left:
            try:
                if not looks:
                    ended = yield from watch.next()
                    looks.extend(left if ended is None else (ended,))
                result = (yield from ending(looks[0])) if looks[0] in left else None
            except (Closed, Unavailable) as lost:
                looks.clear()
                yield from watch.wait_out(lost)
                continue
            task_id = looks.popleft()
            if result is not None:
                del left[task_id]
                yield from Deliver(result)
    finally:
        yield from watch.close()


def wait_batch(
    batch_id: OfBatch, timeout: float | None, on_progress: OnProgress | None
) -> Routine[list[TaskResult]]:
    """Wait for the results of a batch. Errors have its `batch_id` and `task_ids`."""
    timeout, on_progress = waits(timeout, on_progress)
    submitted = yield from batch_members(batch_id)
    batch = BatchResults(list)
    batch.of(submitted)
    reported = -1

    def late() -> BatchTimeout:
        message = _unfinished(batch.total - batch.done, batch.total, timeout)
        return BatchTimeout(message, submitted.batch_id, submitted.task_ids)

    watch = EndWatch(submitted.task_ids, _deadline(timeout, (yield from Now())), late)
    try:
        while True:
            try:
                ended = yield from watch.next()
                if ended is None or batch.hear(ended):
                    yield from gather(batch)
            except (Closed, Unavailable) as lost:
                yield from watch.wait_out(lost)
                continue
            if on_progress is not None and batch.done != reported:
                reported = batch.done
                yield from Invoke(partial(on_progress, reported, batch.total))
            if batch.is_complete:
                results: list[TaskResult] = batch.call()
                return results
    except QueueError as error:
        error.batch_id, error.task_ids = submitted.batch_id, submitted.task_ids
        raise
    finally:
        yield from watch.close()


def waits(
    timeout: float | None, on_progress: OnProgress | None
) -> tuple[float | None, OnProgress | None]:
    """Check and return two arguments. Raises `Invalid`."""
    return arguments.seconds(timeout, "timeout"), arguments.on_progress(on_progress)


def _deadline(timeout: float | None, since: float) -> float | None:
    return None if timeout is None else since + timeout


def _unfinished(left: int, total: int, timeout: float | None) -> str:
    have = "has" if left == 1 else "have"
    return str(arguments.late(f"{left} of {total} tasks {have} not ended", timeout))
