"""Writes all that a closed store holds, or the newest of it, as JSON lines."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from msgspec import Raw

from ..core.model.errors import Unavailable
from ..core.model.tasks import Record
from ..files.blobs import BlobFolder, Blobs
from ..store.encoding import (
    FAMILIES,
    LOADING,
    after,
    decode_batch,
    decode_cron,
    decode_file,
    decode_keyed,
    decode_record,
)
from .faults import Progress
from .lines import (
    NO_RESULT,
    PIECE,
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
    encode_line,
    kind_of,
)
from .store_reader import StoredRows, StoreReader

INTERPRETED = frozenset(FAMILIES)
OWN_META = (
    b"format",
    b"boot",
    b"id",
    b"counts",
    b"upgrading",
    b"loading:",
    b"job:",
    b"flag:",
    b"tenant:",
    b"audits",
    b"fleet_secret",
)
"""What an import derives or has its own of."""
_END = b"\xff"  # after all keys: they are text
REPORT_EACH = 1000


def export(
    folder: Path,
    taken_at: datetime,
    since: datetime | None,
    write: Callable[[bytes], object],
    progress: Progress,
) -> dict[str, int]:
    """Export the store in a data folder, a snapshot or a backup. Returns the numbers of lines.

    With `since`, tasks that ended before are left out. `write` gets one line at a time. Raises
    `Unavailable` if the store cannot be read, and what `write` raises.
    """
    with StoreReader(folder / "rocksdb") as store:
        return export_rows(store, BlobFolder(folder), taken_at, since, write, progress)


def export_rows(
    store: StoredRows,
    blobs: Blobs,
    taken_at: datetime,
    since: datetime | None,
    write: Callable[[bytes], object],
    progress: Progress,
) -> dict[str, int]:
    """Export an opened store, as `export` does."""
    counts = Counter[str]()
    try:
        write(encode_line(Header(VERSION, taken_at, since, int(store.text(b"boot") or 0))) + b"\n")
        for line in _lines(store, blobs, since, progress):
            write(encode_line(line) + b"\n")
            counts[kind_of(line)] += 1
        write(encode_line(ExportEnd(dict(counts))) + b"\n")
    except ValueError as error:  # of msgspec, too
        raise Unavailable(f"a record cannot be read: {error}: verify tells which") from None
    return dict(counts)


def _lines(
    store: StoredRows, blobs: Blobs, since: datetime | None, progress: Progress
) -> Iterator[Line]:
    rows = store.rows
    for key, raw in rows("meta", b"flag:", b"flag;"):
        yield FlagLine(key[len(b"flag:") :].decode(), raw == b"1")
    for _, raw in rows("crons"):
        yield CronLine(decode_cron(raw))
    for _, raw in rows("files"):
        file = decode_file(raw)
        yield FileLine(file)
        with closing(blobs.open(file.id)) as content:
            while piece := content.read(PIECE):
                yield BytesLine(file.id, piece)
    for _, raw in rows("batches"):
        yield BatchLine(decode_batch(raw))
    yield from _tasks(store, since, progress)
    for key, raw in rows("index", b"k", b"l"):
        use = decode_keyed(raw)
        if store.get("tasks", use.task_id.encode()) is None:
            yield KeyLine(key[1:], use.task_id, use.body, use.accepted_at)
    for key, raw in rows("meta"):
        if not key.startswith(OWN_META):
            yield RowLine("meta", key, raw)
    for name in sorted(store.families.keys() - INTERPRETED):
        for key, raw in rows(name):
            yield RowLine(name, key, raw)


def _tasks(store: StoredRows, since: datetime | None, progress: Progress) -> Iterator[TaskLine]:
    hidden = {
        key[len(LOADING) :].decode() for key, _ in store.rows("meta", LOADING, after(LOADING))
    }
    for count, (key, raw) in enumerate(store.rows("tasks")):
        if count % REPORT_EACH == 0:
            progress("tasks", count, 0)
        record = decode_record(raw)
        if record.batch_id in hidden or not _is_since(record, since):
            continue
        spec = store.get("specs", key)
        if spec is None:
            raise ValueError(f"task {record.id} has no spec")
        result = store.get("results", key)
        yield TaskLine(
            record, Raw(spec), NO_RESULT if result is None else Raw(result), _body(store, record)
        )


def _is_since(record: Record, since: datetime | None) -> bool:
    ended = record.completed_at
    return since is None or ended is None or ended >= since


def _body(store: StoredRows, record: Record) -> bytes | None:
    """The digest of what was submitted with the task's key, if the key is in use."""
    raw = None if record.key is None else store.get("index", b"k" + record.key)
    use = None if raw is None else decode_keyed(raw)
    return use.body if use is not None and use.task_id == record.id else None
