"""How tasks are keyed and encoded in RocksDB, and how a range of keys is read."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rocksdict import Rdict, RdictIter, ReadOptions, Snapshot

from ..core.model.crons import Cron
from ..core.model.entry import Entry, KeyUse
from ..core.model.tasks import Batch, Record, Status

# specs    id -> Spec, JSON                     written once
# tasks    id -> Record, msgpack                small, changes
# results  id -> the model's reply, JSON        written once
# index    s <status> <priority> <id> -> Entry, msgpack    (empty once the task has ended)
#          t <when it last started> <id> -> nothing
#          e <status> <when it ended> <id> -> nothing
#          b <batch id> <id> -> nothing
#          c <cron id> <id> -> nothing
#          k <digest> -> Keyed, msgpack         idempotency keys
# batches  id -> Batch, msgpack                 written last: without it its tasks do not count
# crons    id -> Cron, JSON                     in the batch of the task of its last run
# meta     format, boot, counts, flag:<name>, loading:<batch id>, upgrading
# In keys a priority is one hexadecimal digit, a moment is 14: microseconds since 1970.
FAMILIES = ("specs", "tasks", "results", "index", "batches", "crons", "meta")
STATUS_CODE = {status: b"s%d" % number for number, status in enumerate(Status)}

encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
decode_entry = msgspec.msgpack.Decoder(Entry).decode
decode_keyed = msgspec.msgpack.Decoder(KeyUse).decode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
encode_cron = msgspec.json.Encoder().encode
decode_cron = msgspec.json.Decoder(Cron).decode
decode_counts = msgspec.msgpack.Decoder(dict[str, dict[int, int]]).decode


def entries(index: Rdict, status: Status) -> Iterator[Entry]:
    code = STATUS_CODE[status]
    for _, raw in key_range(index.iter, code, after(code)):
        yield decode_entry(raw)


def key_range(
    iterate: Any, start: bytes, end: bytes, backwards: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in [start, end), now. Raises at a corrupt block, where `items()` just ends.

    rocksdict 0.3.29 sets the upper bound when asked for a lower one, hence the comparison.
    """
    bounds = ReadOptions()
    bounds.set_iterate_upper_bound(end)
    return _walk(iterate(bounds), start, backwards, bounds)


def _walk(
    found: RdictIter, start: bytes, backwards: bool, bounds: ReadOptions
) -> Iterator[tuple[bytes, bytes]]:
    """Holds `bounds` until the end: the iterator refers to them and does not keep them."""
    step = found.prev if backwards else found.next
    found.seek_to_last() if backwards else found.seek(start)
    while found.valid() and (key := found.key()) >= start:
        yield key, found.value()
        step()
    found.status()


def value_of(snapshot: Snapshot, key: bytes) -> bytes | None:
    try:
        return snapshot[key]  # type: ignore[no-any-return]
    except Exception as error:  # rocksdict raises nothing more special
        if str(error) == "key not found":
            return None
        raise


def after(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])
