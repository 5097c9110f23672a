"""Batches in the store: written in slices, committed by their batch record, written last."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from ..core.model.entry import KeyUse
from ..core.model.errors import Conflict
from ..core.model.tasks import Batch, BatchSubmitted, Record
from .commit_group import SealedBatch, TaskWrite
from .encoding import after, decode_batch, decode_record, encode
from .families import Changes, Family


class BatchStore:
    """The batches of a store, kept in its column families."""

    def __init__(self, families: dict[str, Family], handles: dict[str, Any]) -> None:
        self._families, self._handles = families, handles
        self._open: dict[str, Batch] = {}  # unfinished ones: their counts change

    def begin(self, batch: Changes, batch_id: str) -> None:
        """Mark the batch as loading: a boot deletes the slices of a batch that still is."""
        batch.put(b"loading:" + batch_id.encode(), b"", self._handles["meta"])

    def seal(self, batch: Changes, sealed: SealedBatch) -> None:
        batch_record = sealed.batch
        batch.delete(b"loading:" + batch_record.id.encode(), self._handles["meta"])
        self._put(batch, batch_record)
        if sealed.key is not None:
            keyed = KeyUse(batch_record.id, sealed.body, batch_record.created_at.timestamp())
            batch.put(b"k" + sealed.key, encode(keyed), self._handles["index"])

    def tally(self, batch: Changes, rows: Iterable[TaskWrite], removed: Iterable[Record]) -> None:
        """Keep the counts of batches in step with their tasks."""
        changed: dict[str, Batch] = {}
        for row in rows:
            if row.record.batch_id is not None and row.was is not None:
                _count(changed, self, row.was, -1)
                _count(changed, self, row.record, +1)
        for record in removed:
            if record.batch_id is not None:
                _count(changed, self, record, -1)
        for changed_batch in changed.values():
            if changed_batch.held:
                self._put(batch, changed_batch)
            else:
                self._delete(batch, changed_batch.id)

    def _put(self, batch: Changes, record: Batch) -> None:
        batch.put(record.id.encode(), encode(record), self._handles["batches"])
        if record.is_over:
            self._open.pop(record.id, None)
        else:
            self._open[record.id] = record

    def _delete(self, batch: Changes, batch_id: str) -> None:
        """Delete the record of a batch whose last task was deleted."""
        batch.delete(batch_id.encode(), self._handles["batches"])
        self._open.pop(batch_id, None)

    def get(self, batch_id: str) -> Batch | None:
        if batch_id in self._open:
            return self._open[batch_id]
        raw = self._families["batches"].get(batch_id.encode())
        return None if raw is None else decode_batch(raw)

    def newest(self, limit: int) -> list[Batch]:
        rows = self._families["batches"].between(b"", b"g", backwards=True)
        return [decode_batch(raw) for _, (_, raw) in zip(range(limit), rows, strict=False)]

    def task_ids(self, batch_id: str) -> list[str]:
        """The ids of the batch's tasks, in the order in which they were submitted."""
        return [key.decode() for key in self._members(batch_id)]

    def found_again(self, batch_id: str) -> BatchSubmitted:
        """The reply to a batch submitted again. Raises `Conflict` if all its tasks are deleted."""
        if self.get(batch_id) is None:
            raise Conflict(
                f"this Idempotency-Key was used for batch {batch_id}, which has been deleted",
                field="idempotency_key",
            )
        return BatchSubmitted(batch_id, self.task_ids(batch_id), created=False)

    def _members(self, batch_id: str) -> Iterator[bytes]:
        prefix = b"b" + batch_id.encode()
        for key, _ in self._families["index"].between(prefix, after(prefix)):
            yield key[len(prefix) :]

    def unfinished(self) -> list[tuple[str, list[Record]]]:
        """The batches that a crash interrupted, with the records written of each."""
        batches = []
        for key, _ in self._families["meta"].between(b"loading:", b"loading;"):
            batch_id = key[8:].decode()
            raws = (self._families["tasks"].get(task) for task in self._members(batch_id))
            batches.append((batch_id, [decode_record(raw) for raw in raws if raw is not None]))
        return batches

    def forget(self, batch: Changes, batch_id: str) -> None:
        batch.delete(b"loading:" + batch_id.encode(), self._handles["meta"])


def _count(changed: dict[str, Batch], book: BatchStore, record: Record, step: int) -> None:
    batch_id, status = record.batch_id or "", record.status.value
    batch = changed.get(batch_id) or book.get(batch_id)
    if batch is not None:
        changed[batch_id] = replace(batch, **{status: getattr(batch, status) + step})
