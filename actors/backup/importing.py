"""Adds what an export holds to the store of a stopped queue, which may be new."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, assert_never

from msgspec.structs import replace

from ..core.model.errors import Invalid, Unavailable
from ..core.model.tasks import Batch, Record
from ..files.blobs import OpenBlob
from ..store.commit_group import CommitGroup, TaskWrite
from ..store.rocksdb import Store
from ..store.task_store import TaskStore
from .faults import Progress
from .lines import (
    LONGEST,
    NO_RESULT,
    VERSION,
    BatchLine,
    BytesLine,
    CronLine,
    ExportEnd,
    FileLine,
    FlagLine,
    Header,
    KeyLine,
    Line,
    RowLine,
    TaskLine,
    decode_line,
    kind_of,
)

SLICE_TASKS = 500
SLICE_BYTES = 1 << 20
SYNC_BYTES = 4 << 20


def import_lines(
    source: IO[bytes], data_folder: Path, progress: Progress, *, replaces: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """Import an export into the queue in `data_folder`, which is created if it is missing.

    As `import_into` does; also raises `Unavailable` if the queue is open.
    """
    open_store = partial(Store, str(data_folder), None)
    return import_into(open_store, source, progress, replaces=replaces)


def import_into(
    open_store: Callable[[], TaskStore],
    source: IO[bytes],
    progress: Progress,
    *,
    replaces: bool = False,
) -> tuple[dict[str, int], dict[str, int]]:
    """Import an export into a store that nobody else writes to.

    Returns how many records of each kind were added, and how many skipped: those whose id is there
    already, unless `replaces`. So an import that was interrupted may be repeated. Raises `Invalid`,
    naming the line, for anything but a complete export, `Unavailable` if the store refuses it.
    What was read before an error stays.
    """
    lines = _read(source)
    header = next(lines, None)
    if not isinstance(header, Header):
        raise Invalid("line 1 is not the header of an export", field="line 1")
    if header.version > VERSION:
        raise Invalid(f"this export has version {header.version}, this program reads {VERSION}")
    store = open_store()
    try:
        importer = _Importer(store, max(store.boot, header.boot), replaces, progress)
        is_complete = importer.run(lines)
    except Exception as error:
        if type(error) is Exception or isinstance(error, OSError):  # of rocksdict, of the disk
            raise Unavailable(f"the import stopped: {error}") from None
        raise
    finally:
        store.close()
    if not is_complete:
        raise Invalid("the export has no end: what it had is imported, the rest is missing")
    return dict(importer.added), dict(importer.skipped)


def _read(source: IO[bytes]) -> Iterator[Line]:
    number = 0
    while raw := source.readline(LONGEST + 1):
        number += 1
        if len(raw) > LONGEST:
            raise Invalid(f"line {number} is longer than {LONGEST} bytes", field=f"line {number}")
        if raw.strip():
            yield decode_line(raw, number)


class _Importer:
    """Writes slices of an export, each atomically, and counts batches anew at the end."""

    def __init__(self, store: TaskStore, boot: int, replaces: bool, progress: Progress) -> None:
        """The next start is numbered after `boot`: its changes are newer than all imported."""
        self.added, self.skipped = Counter[str](), Counter[str]()
        self._store, self._replaces, self._progress = store, replaces, progress
        self._group, self._size = CommitGroup(), 0
        self._boot, self._seq = boot, boot << 32
        self._batches: list[str] = []
        self._blob: tuple[str, OpenBlob] | None = None
        self._file: FileLine | None = None

    def run(self, lines: Iterator[Line]) -> bool:
        """Import all lines. Returns whether the last one is the end."""
        is_complete = False
        try:
            for line in lines:
                is_complete = isinstance(line, ExportEnd)
                self._take(line)
                self._write(SLICE_TASKS, SLICE_BYTES)
            self._end_file()
        finally:
            self._drop_blob()
            self._write(0, 0)
            self._count_batches()
            self._store.write_row("meta", b"boot", b"%d" % self._boot)
            self._store.recount_audit()
            self._write(0, 0)
            self._store.sync(self._store.written())
        return is_complete

    def _take(self, line: Line) -> None:
        if not isinstance(line, BytesLine):
            self._end_file()
        match line:
            case TaskLine():
                self._add_task(line)
            case BytesLine():
                self._add_bytes(line)
            case FileLine(file):
                if self._is_new(line, self._store.files.get(file.id)):
                    self._file = line
                    self._store.files.blobs.remove(file.id)  # left by an interrupted import
                    self._blob = file.id, self._store.files.blobs.create(file.id)
            case BatchLine(batch):
                if self._is_new(line, self._store.batches.get(batch.id)):
                    self._group.batches[batch.id] = batch
                    self._batches.append(batch.id)
            case CronLine(cron):
                if self._is_new(line, self._store.row("crons", cron.id.encode())):
                    self._group.crons[cron.id] = cron
            case FlagLine(name, value):
                if self._is_new(line, self._store.row("meta", b"flag:" + name.encode())):
                    self._group.flags[name] = value
            case KeyLine(key, owner, body, accepted_at):
                if self._is_new(line, self._store.row("index", b"k" + key)):
                    self._store.write_key(key, owner, body, accepted_at)
            case RowLine(family, key, value):
                if not self._store.has_family(family):
                    self.skipped[kind_of(line)] += 1
                elif self._is_new(line, self._store.row(family, key)):
                    self._store.write_row(family, key, value)
            case Header() | ExportEnd():
                pass
            case _:
                assert_never(line)

    def _is_new(self, line: Line, stored: object) -> bool:
        """Whether to import it; counts it either way."""
        is_new = stored is None or self._replaces
        (self.added if is_new else self.skipped)[kind_of(line)] += 1
        return is_new

    def _add_task(self, line: TaskLine) -> None:
        was = self._store.record(line.record.id)
        if not self._is_new(line, was):
            return
        self._seq += 1
        record: Record = replace(line.record, seq=self._seq)
        if line.body is None:
            record = replace(record, key=None)
        result = None if line.result == NO_RESULT else bytes(line.result)
        row = TaskWrite(record, was, bytes(line.spec), result, line.body or b"")
        self._group.rows[record.id] = row
        self._size += len(line.spec) + len(line.result)
        if record.batch_id is not None and self._batches[-1:] != [record.batch_id]:
            self._batches.append(record.batch_id)  # it may have been there before

    # --- files ----------------------------------------------------------------------------------

    def _add_bytes(self, line: BytesLine) -> None:
        if self._blob is not None and self._blob[0] == line.file_id:
            self._blob[1].write(line.data)
        elif self._blob is not None:
            raise Invalid(f"bytes of file {line.file_id} do not follow its line")

    def _end_file(self) -> None:
        """Save the record of the file whose bytes are complete."""
        if self._blob is None or self._file is None:
            return
        self._blob[1].sync()
        self._group.files[self._file.file.id] = self._file.file
        self._file = None
        self._drop_blob()

    def _drop_blob(self) -> None:
        if self._blob is not None:
            self._blob[1].close()
            self._blob = None

    # --- writing --------------------------------------------------------------------------------

    def _write(self, tasks: int, size: int) -> None:
        """Write the slice if it has at least so many tasks or bytes."""
        group = self._group
        if len(group.rows) < tasks and self._size < size:
            return
        self._group, self._size = CommitGroup(), 0
        self._store.write(group)
        if self._store.unwritten_bytes >= SYNC_BYTES:
            self._store.sync(self._store.written())
        self._progress("tasks", self.added["task"] + self.skipped["task"], 0)

    def _count_batches(self) -> None:
        for batch_id in dict.fromkeys(self._batches):
            batch = self._store.batches.get(batch_id)
            if batch is not None:
                counted = self._counted(batch)
                has_content = counted.held or counted.job is not None
                self._group.batches[batch_id] = counted if has_content else None
                self._write(SLICE_TASKS, SLICE_BYTES)

    def _counted(self, batch: Batch) -> Batch:
        counted = Counter[str]()
        for task_id in self._store.batches.task_ids(batch.id):
            record = self._store.record(task_id)
            if record is not None:
                counted[record.status.value] += 1
        statuses = ("pending", "running", "completed", "failed", "cancelled")
        return replace(batch, **{status: counted[status] for status in statuses})
