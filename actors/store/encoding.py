"""The column families, and the keys and encodings of records in them."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from ..core.model.access_keys import AccessKey, TenantUsage
from ..core.model.crons import Cron
from ..core.model.entry import Entry, KeyUse
from ..core.model.files import StoredFile
from ..core.model.orders import AssignedCall
from ..core.model.outcomes import CallEnd
from ..core.model.tasks import Batch, Record, Status

# specs    id -> Spec, JSON                     written once
# tasks    id -> Record, msgpack                small, changes
# results  id -> the model's reply, JSON        written once
# index    s <status> <priority> <id> -> Entry, msgpack    (empty once the task has ended)
#          t <start of the last attempt> <id> -> nothing
#          e <status> <end> <id> -> nothing
#          b <batch id> <id> -> nothing
#          c <cron id> <id> -> nothing
#          k <digest> -> KeyUse, msgpack        idempotency keys
# batches  id -> Batch, msgpack                 written last: without it the tasks do not count
# crons    id -> Cron, JSON                     written together with the task of the last run
# files    id -> StoredFile, msgpack            written once its bytes are durable
#          n <digest of tenant> <id> -> nothing
# meta     access:<name> -> AccessKey, msgpack; used:<tenant> -> TenantUsage, msgpack;
#          tenant:<tenant> -> its counts, as in counts;
#          format, boot, counts, flag:<name>, loading:<batch id>, job:<batch id>, upgrading,
#          history:<resolution>:<number> -> tallies, msgpack
#          audit:<seq> -> AuditEntry, msgpack; audits: how many
#          delivery:<…>: see delivery_store.py
# Of a queue in PostgreSQL, also:
# calls    <server>:<task id>:<attempt> -> AssignedCall, msgpack
# ends     the same -> CallEnd, msgpack         written by that server, once
# In keys, a priority is one hexadecimal digit; a time is 14, the microseconds since 1970.
SHARED_FAMILIES = ("calls", "ends")  # not of the queue's data: who makes which call just now
FAMILIES = ("specs", "tasks", "results", "index", "batches", "crons", "files", "meta")
WHOLE = ("tasks", "specs", "results")  # what there is of a task
TENANT = b"tenant:"  # in `meta`, before a name
LOADING = b"loading:"  # before the id of an unsealed batch
STATUS_CODE = {status: b"s%d" % number for number, status in enumerate(Status)}


class Family(Protocol):
    """A column family, or a snapshot of one: keys and values in key order."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key; None for an unknown key."""

    def get_all(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """The values of several keys, read together where that is quicker."""

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in [start, end), as of this call."""

    def snapshot(self) -> "Family":
        """A snapshot, for reading in another thread."""


class Changes(Protocol):
    """An atomic set of changes to several families."""

    def put(self, key: bytes, value: bytes, handle: Any, /) -> None: ...

    def delete(self, key: bytes, handle: Any, /) -> None: ...

    def size_in_bytes(self) -> int: ...


encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
decode_entry = msgspec.msgpack.Decoder(Entry).decode
decode_keyed = msgspec.msgpack.Decoder(KeyUse).decode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_file = msgspec.msgpack.Decoder(StoredFile).decode
decode_access_key = msgspec.msgpack.Decoder(AccessKey).decode
decode_call = msgspec.msgpack.Decoder(AssignedCall).decode
decode_end = msgspec.msgpack.Decoder(CallEnd).decode
decode_usage = msgspec.msgpack.Decoder(TenantUsage).decode
encode_cron = msgspec.json.Encoder().encode
decode_cron = msgspec.json.Decoder(Cron).decode
decode_counts = msgspec.msgpack.Decoder(dict[str, dict[int, int]]).decode


def entries(index: Family, status: Status) -> Iterator[Entry]:
    code = STATUS_CODE[status]
    for _, raw in index.between(code, after(code)):
        yield decode_entry(raw)


def after(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])
