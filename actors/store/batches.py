"""Batches in the store: written in slices, committed by their batch record, written last."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..core.messages import ListJobs
from ..core.messages.replies import BatchLines, LiveTasks, StoredTask
from ..core.model.entry import KeyUse
from ..core.model.errors import Conflict, NotFound
from ..core.model.tasks import Batch, BatchJob, BatchSubmitted, Record
from .commit_group import SealedBatch, TaskWrite
from .encoding import LOADING, Changes, Family, after, decode_batch, decode_record, encode
from .encoding import after as after_prefix

if TYPE_CHECKING:
    from .task_store import TaskStore

SLICE_BYTES = 1 << 20  # of requests and results
SLICE_LINES = 200
SLICE_ROWS = 2000  # of tasks that have ended
_JOB = b"job:"  # in `meta`, before the id of a batch whose job is unfinished


class BatchStore:
    """The batches of a store, kept in its column families."""

    def __init__(self, families: dict[str, Family], handles: dict[str, Any]) -> None:
        self._families, self._handles = families, handles
        self._open: dict[str, Batch] = {}  # unfinished ones: they change
        self.ended: list[Batch] = []  # with a job, whose last task has just ended

    def begin(self, batch: Changes, batch_id: str) -> None:
        """Mark the batch as loading: a boot deletes the slices of a batch that still is."""
        batch.put(LOADING + batch_id.encode(), b"", self._handles["meta"])

    def seal(self, batch: Changes, sealed: SealedBatch) -> None:
        batch_record = sealed.batch
        batch.delete(LOADING + batch_record.id.encode(), self._handles["meta"])
        self.put(batch, batch_record)
        if sealed.key is not None:
            keyed = KeyUse(batch_record.id, sealed.body, batch_record.created_at.timestamp())
            batch.put(b"k" + sealed.key, encode(keyed), self._handles["index"])

    def tally(
        self,
        batch: Changes,
        rows: Iterable[TaskWrite],
        removed: Iterable[Record],
        jobs: Mapping[str, BatchJob],
    ) -> None:
        """Keep the counts of batches in step with their tasks, and save changed jobs."""
        changed: dict[str, Batch] = {}
        for row in rows:
            if row.record.batch_id is not None and row.was is not None:
                _count(changed, self, row.was, -1)
                _count(changed, self, row.record, +1)
        for record in removed:
            if record.batch_id is not None:
                _count(changed, self, record, -1)
        self.ended += [each for each in changed.values() if each.job is not None and each.is_over]
        for batch_id, job in jobs.items():
            known = changed.get(batch_id) or self.get(batch_id)
            if known is not None:
                changed[batch_id] = replace(known, job=job)
        for changed_batch in changed.values():
            if changed_batch.held or changed_batch.job is not None:
                self.put(batch, changed_batch)
            else:  # its last task was deleted
                self.delete(batch, changed_batch.id)

    def put(self, batch: Changes, record: Batch) -> None:
        batch.put(record.id.encode(), encode(record), self._handles["batches"])
        if record.is_settled:
            self._open.pop(record.id, None)
        else:
            self._open[record.id] = record
        if record.job is not None:  # a boot looks for those that are unfinished
            key, meta = _JOB + record.id.encode(), self._handles["meta"]
            if record.job.status.is_final:
                batch.delete(key, meta)
            else:
                batch.put(key, b"", meta)

    def delete(self, batch: Changes, batch_id: str) -> None:
        batch.delete(batch_id.encode(), self._handles["batches"])
        self._open.pop(batch_id, None)

    def unfinished_jobs(self) -> list[Batch]:
        """The batches with a job that has not ended."""
        rows = self._families["meta"].between(_JOB, after(_JOB))
        batches = (self.get(key[len(_JOB) :].decode()) for key, _ in rows)
        return [batch for batch in batches if batch is not None]

    def get(self, batch_id: str) -> Batch | None:
        if batch_id in self._open:
            return self._open[batch_id]
        raw = self._families["batches"].get(batch_id.encode())
        return None if raw is None else decode_batch(raw)

    def one(self, batch_id: str) -> Batch:
        """Raises `NotFound`."""
        batch = self.get(batch_id)
        if batch is None:
            raise NotFound(f"there is no batch {batch_id}", field="id")
        return batch

    def newest(self, limit: int, tenant: str | None) -> Callable[[], list[Batch]]:
        """Return a function that reads the newest batches, of a tenant or of all, in any thread."""
        rows = self._families["batches"].snapshot().between(b"", b"g", backwards=True)

        def read() -> list[Batch]:
            batches = (decode_batch(raw) for _, raw in rows)
            return list(islice((b for b in batches if tenant in (None, b.tenant)), limit))

        return read

    def jobs(self, command: ListJobs) -> Callable[[], list[Batch]]:
        """Return a function that reads the batches with a job that are asked for; it may run in
        any thread."""
        start = f"{command.after}\0" if command.after else ""
        end, endpoint = command.before.encode() or b"g", command.endpoint
        newest_first, tenant = not command.after, command.tenant
        rows = self._families["batches"].snapshot().between(start.encode(), end, newest_first)

        def read() -> list[Batch]:
            batches = (decode_batch(raw) for _, raw in rows)
            wanted = (
                b
                for b in batches
                if b.job and endpoint in ("", b.job.endpoint) and tenant in (None, b.tenant)
            )
            found = list(islice(wanted, command.limit))
            return found if newest_first else found[::-1]

        return read

    def forgotten(self, before: datetime) -> Callable[[], tuple[str, ...]]:
        """Return a function that finds the batches with a job that ended before then and have no
        tasks left; it may run in any thread."""
        rows = self._families["batches"].snapshot().between(b"", b"g")

        def find() -> tuple[str, ...]:
            batches = (decode_batch(raw) for _, raw in rows)
            return tuple(b.id for b in batches if b.job and not b.held and _ended(b.job, before))

        return find

    def task_ids(self, batch_id: str) -> list[str]:
        """The ids of the batch's tasks, in the order in which they were submitted."""
        return [key.decode() for key in self._members(batch_id)]

    def found_again(self, batch_id: str) -> BatchSubmitted:
        """The reply to a batch submitted again. Raises `Conflict` if all its tasks are deleted."""
        if self.get(batch_id) is None:
            raise Conflict(
                f"this idempotency key was used for batch {batch_id}, which has been deleted",
                field="idempotency_key",
            )
        return BatchSubmitted(batch_id, self.task_ids(batch_id), created=False)

    def _members(self, batch_id: str) -> Iterator[bytes]:
        prefix = b"b" + batch_id.encode()
        for key, _ in self._families["index"].between(prefix, after(prefix)):
            yield key[len(prefix) :]

    def unfinished(self) -> list[str]:
        """The batches that a crash interrupted."""
        rows = self._families["meta"].between(LOADING, after(LOADING))
        return [key[len(LOADING) :].decode() for key, _ in rows]

    def written_of(self, batch_id: str) -> Iterator[list[Record]]:
        """The records of a batch in slices, each of which may be deleted before the next."""
        index, last = self._families["index"], ""
        while keys := list(islice(_members(index, batch_id, last), SLICE_ROWS)):
            last = keys[-1].decode()
            raws = self._families["tasks"].get_all(keys)
            yield [decode_record(raw) for raw in raws if raw is not None]

    def forget(self, batch: Changes, batch_id: str) -> None:
        batch.delete(LOADING + batch_id.encode(), self._handles["meta"])


def _ended(job: BatchJob, before: datetime) -> bool:
    ends = (job.failed_at, job.completed_at, job.expired_at, job.cancelled_at)
    return job.status.is_final and all(end is None or end < before for end in ends)


def _count(changed: dict[str, Batch], book: BatchStore, record: Record, step: int) -> None:
    batch_id, status = record.batch_id or "", record.status.value
    batch = changed.get(batch_id) or book.get(batch_id)
    if batch is not None:
        changed[batch_id] = replace(batch, **{status: getattr(batch, status) + step})


# --- the tasks of a batch -----------------------------------------------------------------------


def lines_of(store: "TaskStore", batch_id: str, after: str) -> Callable[[], BatchLines]:
    """Return a function that reads a slice of a batch's lines, in their order, after the task
    `after`. It may run in any thread."""
    index, tasks, specs, results = store.snapshots("index", "tasks", "specs", "results")
    members = _members(index, batch_id, after)

    def read() -> BatchLines:
        lines: list[StoredTask] = []
        size = 0
        for key in members:
            raw, spec, result = tasks.get(key), specs.get(key), results.get(key)
            if raw is None or spec is None:
                continue
            lines.append(StoredTask(decode_record(raw), spec, result))
            size += len(spec) + len(result or b"")
            if len(lines) == SLICE_LINES or size >= SLICE_BYTES:
                return BatchLines(lines, key.decode())
        return BatchLines(lines, None)

    return read


def live_tasks_of(store: "TaskStore", batch_id: str, after: str) -> Callable[[], LiveTasks]:
    """Return a function that finds the next pending and running tasks of a batch, after the task
    `after`. It may run in any thread."""
    index, tasks = store.snapshots("index", "tasks")
    members = _members(index, batch_id, after)

    def find() -> LiveTasks:
        live: list[str] = []
        for seen, key in enumerate(members, 1):
            raw = tasks.get(key)
            if raw is not None and not decode_record(raw).status.is_final:
                live.append(key.decode())
            if len(live) == SLICE_LINES or seen == SLICE_ROWS:
                return LiveTasks(tuple(live), key.decode())
        return LiveTasks(tuple(live), None)

    return find


def _members(index: Family, batch_id: str, after: str) -> Iterator[bytes]:
    prefix = b"b" + batch_id.encode()
    start = prefix + after.encode() + b"\x00" if after else prefix
    return (key[len(prefix) :] for key, _ in index.between(start, after_prefix(prefix)))
