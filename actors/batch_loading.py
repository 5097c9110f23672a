"""Loading of batches: drafted while they are read, stored and enqueued slice by slice.

Tasks that wait to be stored are kept encoded: as objects they take ten times the memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

import msgspec
from msgspec.structs import replace

from .base.cooperation import YieldControl, cooperatively, never_yield, run_steps
from .base.inbox import Promise
from .core.activity.tracing import TraceContext
from .core.intake import arguments
from .core.intake.arguments import AnyTask
from .core.intake.submission import drafting
from .core.messages import RestrictedRoute, StoreSlice, Submit, SubmitBatch
from .core.model.entry import Entry, entry_of
from .core.model.errors import Invalid, placed
from .core.model.ids import BatchDigest, key_digest
from .core.model.orders import Insert
from .core.model.tasks import Batch, BatchSubmitted
from .core.plan.acceptance import Draft, draft_of, record_of

SLICE_TASKS = 200
SLICE_BYTES = 1 << 20
PACK_BYTES = 512 << 10  # blocks this large are returned to the system when freed
FACTS_BYTES = 150  # of a task besides its spec, roughly
LOOK_TASKS = 5000  # tasks drafted between two checks of the capacity
LOOK_BYTES = 8 << 20

_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder(list[Draft]).decode


def draft_batch(
    tasks: Iterable[AnyTask],
    idempotency_key: str | None = None,
    yield_control: YieldControl = never_yield,
    check_capacity: Callable[[int, int], None] = lambda tasks, size: None,
    trace: TraceContext | None = None,
) -> SubmitBatch:
    """Check and encode all tasks of a batch. Raises `Invalid`, naming `tasks[3].model` and so on.

    It yields control between tasks. From time to time it passes the number and bytes of tasks so
    far to `check_capacity`, to refuse too large a batch before it is read to the end.
    """
    idempotency_key = arguments.key(idempotency_key)
    packing = BatchPacker(idempotency_key is not None)
    seen_tasks = seen_bytes = 0
    for index, task in enumerate(cooperatively(arguments.tasks(tasks), yield_control)):
        try:
            packing.add(run_steps(drafting(task, trace=trace), yield_control))
        except Invalid as error:
            raise placed(error, f"tasks[{index}]") from None
        if packing.count - seen_tasks >= LOOK_TASKS or packing.size - seen_bytes >= LOOK_BYTES:
            seen_tasks, seen_bytes = packing.count, packing.size
            check_capacity(seen_tasks, seen_bytes)
    if not packing.count:
        raise Invalid("tasks must be a list of at least one task", field="tasks")
    return packing.packed(idempotency_key)


class BatchPacker:
    """Packs the tasks of a batch in slices."""

    def __init__(self, is_keyed: bool) -> None:
        self.count = self.size = 0  # number of tasks; bytes of their specs
        self._digest = BatchDigest() if is_keyed else None
        self._packs: deque[bytes] = deque()
        self._drafts: list[Draft] = []
        self._left = PACK_BYTES
        self._buffer = bytearray()
        self._choosy: dict[str, RestrictedRoute] = {}
        self._tenant: str | None = None  # of the first task
        self._is_mixed = False  # another task has another tenant
        self._earliest: tuple[int, datetime] | None = None  # index and instant of a deadline

    def add(self, submit: Submit) -> Draft:
        draft = draft_of(submit)
        if self._digest is not None:
            self._digest.add(submit.new)
        if submit.is_restricted and draft.route not in self._choosy:
            self._choosy[draft.route] = RestrictedRoute(self.count, draft.route, submit.ollama_only)
        if draft.deadline is not None and (
            self._earliest is None or draft.deadline < self._earliest[1]
        ):
            self._earliest = self.count, draft.deadline
        if not self.count:
            self._tenant = draft.tenant
        elif self._tenant != draft.tenant:
            self._is_mixed = True
        self.count += 1
        self.size += len(draft.spec)
        self._drafts.append(draft)
        self._left -= len(draft.spec) + FACTS_BYTES
        if self._left <= 0:
            self._pack()
        return draft

    def packed(self, key: str | None = None, turns: Sequence[int] = ()) -> SubmitBatch:
        if self._drafts:
            self._pack()
        submit = SubmitBatch(
            self._packs,
            self.count,
            self.size,
            tuple(self._choosy.values()),
            turns=turns,
            earliest=self._earliest,
            tenant=None if self._is_mixed else self._tenant,
        )
        if key is None or self._digest is None:
            return submit
        digest = key_digest(self._tenant, key)
        return replace(submit, key=digest, body=self._digest.digest())

    def _pack(self) -> None:
        _encode_into(self._drafts, self._buffer)
        self._packs.append(bytes(self._buffer))
        self._drafts, self._left = [], PACK_BYTES


class BatchLoad:
    """One batch from its submit until the last of its tasks is enqueued."""

    def __init__(
        self, batch: Batch, submit: SubmitBatch, now: float, promise: Promise[BatchSubmitted] | None
    ) -> None:
        self.batch, self.promise = batch, promise
        self._turns, self._begun_at = submit.turns, now
        self.key, self.body = submit.key, submit.body
        self.is_stored = False
        self.again: list[Promise[BatchSubmitted] | None] = []  # of repeated submits meanwhile
        self._packs = submit.packs
        self._drafts: deque[Draft] = deque()  # of the current pack
        self._prepared = 0  # number of tasks
        self._entries: dict[int, list[Entry]] = {}  # by turn
        self._in_order = self._by_turn()

    def prepare(
        self, mint: Callable[[], tuple[str, float]], max_retries: int, scheduler: object
    ) -> StoreSlice:
        """The next slice of tasks to store; `mint` returns an id and its time for each."""
        inserts: list[Insert] = []
        size = 0
        while len(inserts) < SLICE_TASKS and size < SLICE_BYTES:
            if not self._drafts:
                if not self._packs:
                    break
                self._drafts.extend(_decode(self._packs.popleft()))
            draft = self._drafts.popleft()
            size += len(draft.spec)
            task_id, now = mint()
            turn = 0
            if self._turns:  # all are accepted at one instant, so that only turns order them
                now, turn = self._begun_at, self._turns[self._prepared]
            record = record_of(task_id, draft, max_retries, now, batch_id=self.batch.id, turn=turn)
            inserts.append(Insert(record, draft.spec))
            self._entries.setdefault(turn, []).append(entry_of(record))
            self._prepared += 1
        is_last = not self._packs and not self._drafts
        return StoreSlice(self.batch, tuple(inserts), is_last, scheduler, self.key, self.body)

    def take(self) -> list[Entry]:
        """The next tasks to enqueue; empty after the last."""
        return list(islice(self._in_order, SLICE_TASKS))

    def _by_turn(self) -> Iterator[Entry]:
        for turn in sorted(self._entries):
            yield from self._entries.pop(turn)
