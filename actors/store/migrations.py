"""Upgrades a store of an older format when it is opened."""

from collections.abc import Callable, Mapping
from typing import Any

from ..core.model.errors import Unavailable
from ..core.model.stats import Counts
from ..core.model.tasks import Record
from .encoding import STATUS_CODE, TENANT, Family, decode_record, encode
from .indexes import put_rows

# Format 1 had no rows to list tasks by priority, cron, start and end; in format 2 the rows of
# pending and running tasks contained their last error; format 3 had no rows and counts of tenants.
FORMAT = 4
SLICE_TASKS = 500


def check_format(meta: Family, place: str) -> None:
    """Refuse a store of a newer version with `Unavailable`; `place` says where it is."""
    known = int(meta.get(b"format") or FORMAT)
    if not 1 <= known <= FORMAT:
        raise Unavailable(
            f"the store in {place} has format {known}, this version reads "
            f"{FORMAT}: use the version that wrote it"
        )


def upgrade(
    tables: Mapping[str, Family],
    handles: Mapping[str, Any],
    changes: Callable[[], Any],
    commit: Callable[[Any], None],
) -> None:
    """Rewrite the rows of all tasks, slice by slice; the next open resumes after a crash.

    `changes` makes an empty `Changes`, which `commit` writes. The new format is written first: an
    older version would misread the index from then on.
    """
    meta = tables["meta"]
    if meta.get(b"format") in (b"1", b"2", b"3"):
        begin = changes()
        begin.put(b"format", b"%d" % FORMAT, handles["meta"])
        begin.put(b"upgrading", b"1", handles["meta"])
        commit(begin)
    if meta.get(b"upgrading") is None:
        return
    batch, tenants = changes(), dict[str, Counts]()
    for count, (key, raw) in enumerate(tables["tasks"].between(b"", b"g"), 1):
        record = decode_record(raw)
        batch.delete(STATUS_CODE[record.status] + key, handles["index"])
        put_rows(batch, handles["index"], record, None)
        count_tenant(tenants, record)
        if count % SLICE_TASKS == 0:
            commit(batch)
            batch = changes()
    for tenant, counts in tenants.items():
        batch.put(TENANT + tenant.encode(), encode(counts.by_status), handles["meta"])
    batch.delete(b"upgrading", handles["meta"])
    commit(batch)


def count_tenant(tenants: dict[str, Counts], record: Record) -> None:
    """Count a task among those of its tenant."""
    if record.tenant is not None:
        counts = tenants.setdefault(record.tenant, Counts())
        counts.add(record.status, record.priority, 1)
