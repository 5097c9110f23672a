"""The plan's orders: Persistence carries out saves; workers and the Prober carry out acts."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from .access_keys import AccessKey, TenantUsage
from .crons import Cron
from .deliveries import StoredDelivery
from .files import StoredFile
from .tasks import Attempt, Batch, BatchJob, Record

# --- saves --------------------------------------------------------------------------------------


class Insert(Struct, frozen=True):
    """A new task: its record, its `Spec` as JSON and, with a key, the digest of its body."""

    record: Record
    spec: bytes
    body: bytes = b""


class Change(Struct, frozen=True):
    """Changed fields of a task's record, the event of the change, and an attempt that ended.

    `cut` is the reason an attempt ended that only its record knows, as the queue has restarted.
    """

    task_id: str
    fields: Mapping[str, Any]
    event: str
    ended: Attempt | None = None
    result: bytes | None = None
    cut: str | None = None


class Remove(Struct, frozen=True):
    """Delete a finished task."""

    task_id: str


class SetFlag(Struct, frozen=True):
    """Set a flag of the queue, or of a backend, that survives a restart."""

    name: str
    value: bool
    event: str
    backend: str | None = None


class Announce(Struct, frozen=True):
    """An event without a change to save: a backend has become healthy or unavailable."""

    event: str
    backend: str
    reason: str | None = None


class DropKey(Struct, frozen=True):
    """Delete an idempotency key (a digest)."""

    key: bytes


class SaveCron(Struct, frozen=True):
    """Save a cron, with the event of its change; with `task_id`, together with that task."""

    cron: Cron
    event: str
    task_id: str | None = None
    reason: str | None = None


class DropCron(Struct, frozen=True):
    """Delete a cron, of this tenant."""

    cron_id: str
    tenant: str | None = None


class SaveAudit(Struct, frozen=True):
    """Save an entry of the audit log: an `AuditNote`."""

    note: Any


class SaveFile(Struct, frozen=True):
    """Save the record of a file, whose bytes are durable."""

    file: StoredFile


class DropFile(Struct, frozen=True):
    """Delete a file's record and then its bytes."""

    file_id: str


class SaveBatch(Struct, frozen=True):
    """Save a new batch whose tasks are the lines of a file: they follow. `key` and `body` are its
    idempotency key, if any, and the digest of its request."""

    batch: Batch
    key: bytes | None = None
    body: bytes = b""


class SaveJob(Struct, frozen=True):
    """Change a batch's job; its counts stay."""

    batch_id: str
    job: BatchJob


class SaveAccessKey(Struct, frozen=True):
    """Save an API key."""

    key: AccessKey


class DropAccessKey(Struct, frozen=True):
    """Delete the API key of this name."""

    name: str


class SaveUsage(Struct, frozen=True):
    """Save what a tenant has used of its budgets."""

    tenant: str
    usage: TenantUsage


class SaveDelivery(Struct, frozen=True):
    """Change a delivery, if it is still stored."""

    delivery: StoredDelivery


class DropDelivery(Struct, frozen=True):
    """Delete a delivery."""

    delivery_id: str


class DropBatch(Struct, frozen=True):
    """Delete a batch without tasks."""

    batch_id: str


class AssignedCall(Struct, frozen=True):
    """A call that another server makes. `server` is its id, `model` the model's canonical name,
    `started_at` seconds since 1970. Its `run.slot` means nothing to that server. With `stop`, it is
    to end at once."""

    server: str
    model: str
    run: "Run"
    started_at: float
    stop: bool = False

    @property
    def key(self) -> str:
        """Names it in the store: no other call has the same server, task and attempt."""
        return PlacedCall(self.server, self.run.task_id, self.run.attempt).key


LEADER = ""  # in place of a server's id: the one that leads


class PlacedCall(Struct, frozen=True):
    """Which server makes the call of an attempt."""

    server: str
    task_id: str
    attempt: int

    @property
    def key(self) -> str:
        return f"{self.server}:{self.task_id}:{self.attempt}"


def placed_call(key: str) -> PlacedCall:
    """The call that has this key. Raises `ValueError`."""
    server, task_id, attempt = key.split(":")
    return PlacedCall(server, task_id, int(attempt))


class SaveCall(Struct, frozen=True):
    """Have another server make this call, or stop it."""

    call: AssignedCall


class DropCall(Struct, frozen=True):
    """Forget a call of another server, by its key, and what that has written of its end: if it is
    still being made, that server stops it."""

    key: str


SaveElse = (
    SetFlag
    | DropKey
    | SaveCron
    | DropCron
    | SaveFile
    | SaveAudit
    | DropFile
    | SaveBatch
    | SaveJob
    | SaveAccessKey
    | DropAccessKey
    | SaveUsage
    | DropBatch
    | SaveDelivery
    | DropDelivery
    | SaveCall
    | DropCall
    | Announce
)
"""A save that does not concern a task's record."""

Save = Insert | Change | Remove | SaveElse

# --- acts ---------------------------------------------------------------------------------------


class Run(Struct, frozen=True):
    """Make this call (each slot has its worker). `model` is the backend's own name for the model,
    None if it is the same; `without` are fields that we add and the backend refuses. `fallback` is
    the model if it is not the task's own."""

    slot: int
    task_id: str
    attempt: int
    backend: str
    timeout_s: float | None = None
    model: str | None = None
    without: frozenset[str] = frozenset()
    fallback: str | None = None


class Stop(Struct, frozen=True):
    """Stop that call; its `Finished` still follows."""

    slot: int
    task_id: str
    attempt: int


class Probe(Struct, frozen=True):
    """Probe a backend after `delay_s`, ahead of its schedule."""

    backend: str
    delay_s: float


class KeepModel(Struct, frozen=True):
    """Have a backend load a model and keep it in memory."""

    backend: str
    model: str


class Warn(Struct, frozen=True):
    """Log a warning."""

    text: str


class Replace(Struct, frozen=True):
    """Give this slot a new worker; the old one is silent or dead."""

    slot: int


Act = Run | Stop | Probe | KeepModel | Warn | Replace

Order = Save | Act


def split(orders: Iterable[Order]) -> tuple[list[Save], list[Act]]:
    """The saves and the acts among the orders, each in order."""
    saves: list[Save] = []
    acts: list[Act] = []
    for order in orders:
        if isinstance(order, Save):
            saves.append(order)
        else:
            acts.append(order)
    return saves, acts
