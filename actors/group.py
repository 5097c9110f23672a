"""What one fsync makes durable: changes merged task by task, and what is said once it has."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ollama_queue.actors.core.orders import Change, Insert, SetFlag
from ollama_queue.actors.core.records import Event, Record
from ollama_queue.actors.inbox import Promise

KEEP_ATTEMPTS = 100  # of one task; a backend that is away for days makes many


class Row(Struct):
    """One task's part of a group: its newest record and what else is written of it."""

    record: Record
    was: Record | None  # as it lies on disk, None when new
    spec: bytes | None = None
    result: bytes | None = None
    body: bytes = b""


class Group:
    """Gathers while the fsync before it is in flight."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.removed: dict[str, Record] = {}  # as they lie on disk
        self.flags: dict[str, bool] = {}
        self.dropped_keys: list[bytes] = []
        self.events: list[Event] = []
        self.answers: list[tuple[Promise | None, Any]] = []

    @property
    def changes_disk(self) -> bool:
        return bool(self.rows or self.removed or self.flags or self.dropped_keys)

    def __bool__(self) -> bool:
        return self.changes_disk or bool(self.answers)

    # --- merging --------------------------------------------------------------------------------

    def insert(self, insert: Insert, at: datetime, seq: int) -> Record:
        record = replace(insert.record, seq=seq)
        self.rows[record.id] = Row(record, None, insert.spec, None, insert.body)
        self.events.append(Event("task_submitted", record, at, seq))
        return record

    def change(self, change: Change, was: Record | None, at: datetime, seq: int) -> Record:
        """Merge a change into the task's record, `was` being the newest that is known."""
        if was is None:
            raise LookupError(f"a change of task {change.task_id}, which is not stored")
        row = self.rows.setdefault(change.task_id, Row(was, was))
        facts = dict(change.fields)
        if change.ended is not None:
            facts["attempts"] = [*was.attempts, change.ended][-KEEP_ATTEMPTS:]
        if change.result is not None:
            row.result = change.result
        row.record = replace(was, seq=seq, **facts)
        self.events.append(Event(change.event, row.record, at, seq))
        return row.record

    def remove(self, was: Record | None, at: datetime, seq: int) -> Record:
        if was is None:
            raise LookupError("a removal of a task that is not stored")
        row = self.rows.pop(was.id, None)
        on_disk = was if row is None else row.was
        if on_disk is not None:
            self.removed[was.id] = on_disk
        self.events.append(Event("task_deleted", replace(was, seq=seq), at, seq))
        return was

    def set_flag(self, flag: SetFlag, at: datetime, seq: int) -> None:
        self.flags[flag.name] = flag.value
        self.events.append(Event(flag.event, None, at, seq))

    # --- what is not durable yet ----------------------------------------------------------------

    def touches(self, task_id: str) -> bool:
        return task_id in self.rows or task_id in self.removed

    def record(self, task_id: str) -> Record | None:
        row = self.rows.get(task_id)
        return None if row is None else row.record

    def spec(self, task_id: str) -> bytes | None:
        row = self.rows.get(task_id)
        return None if row is None else row.spec

    def result(self, task_id: str) -> bytes | None:
        row = self.rows.get(task_id)
        return None if row is None else row.result
