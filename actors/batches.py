"""Batches on their way: prepared, stored and taken up slice by slice, so that nobody waits long."""

from collections import deque
from collections.abc import Callable, Iterable

from ollama_queue.actors.breathing import Breathe, as_threads_do, driven, unhurried
from ollama_queue.actors.core.acceptance import accept
from ollama_queue.actors.core.entries import Entry, entry_of
from ollama_queue.actors.core.errors import Invalid, naming
from ollama_queue.actors.core.keys import batch_digest
from ollama_queue.actors.core.messages import StoreSlice, SubmitBatch
from ollama_queue.actors.core.orders import Insert
from ollama_queue.actors.core.records import Batch, NewTask
from ollama_queue.actors.core.submission import draft, drafting
from ollama_queue.actors.inbox import Promise

SLICE_TASKS = 200
SLICE_BYTES = 1 << 20


def draft_batch(
    tasks: Iterable[NewTask],
    idempotency_key: str | None = None,
    breathe: Breathe = as_threads_do,
) -> SubmitBatch:
    """Check and encode all tasks of a batch. Raises `Invalid`, naming `tasks[3].model` and so on.

    It breathes between the tasks.
    """
    asked = []
    for index, task in enumerate(unhurried(tasks, breathe)):
        with naming(f"tasks[{index}]"):
            asked.append(driven(drafting(task), breathe))
    if not asked:
        raise Invalid("tasks must be a list of at least one task", field="tasks")
    if idempotency_key is None:
        return SubmitBatch(tuple(asked))
    key = draft(asked[0].new, idempotency_key).key
    return SubmitBatch(
        tuple(asked), key, batch_digest(submit.new for submit in unhurried(asked, breathe))
    )


class Loading:
    """One batch between its submit and the moment when the last of its tasks waits."""

    def __init__(self, batch: Batch, submit: SubmitBatch, promise: Promise | None) -> None:
        self.batch, self.promise = batch, promise
        self.key, self.body = submit.key, submit.body
        self.is_stored = False
        self.again: list[Promise | None] = []  # of who submitted it again meanwhile
        self._asked = deque(submit.asked)
        self._entries: deque[Entry] = deque()

    def prepare(
        self, mint: Callable[[], tuple[str, float]], max_retries: int, scheduler: object
    ) -> StoreSlice:
        """The next slice of tasks to store; `mint` gives an id and its instant for each."""
        inserts: list[Insert] = []
        size = 0
        while self._asked and len(inserts) < SLICE_TASKS and size < SLICE_BYTES:
            asked = self._asked.popleft()
            task_id, now = mint()
            record = accept(task_id, asked, max_retries, now, self.batch.id)
            inserts.append(Insert(record, asked.spec))
            self._entries.append(entry_of(record))
            size += len(asked.spec)
        is_last = not self._asked
        return StoreSlice(self.batch, tuple(inserts), is_last, scheduler, self.key, self.body)

    def take(self) -> list[Entry]:
        """The next tasks that may wait now; empty when all do."""
        return [self._entries.popleft() for _ in range(min(SLICE_TASKS, len(self._entries)))]
