"""What the plan orders: saves are carried out by Persistence, acts by whom they name."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from .crons import Cron
from .tasks import Attempt, Record

# --- saves --------------------------------------------------------------------------------------


class Insert(Struct, frozen=True):
    """A new task: its record, its `Spec` as JSON; with a key, the digest of what is asked."""

    record: Record
    spec: bytes
    body: bytes = b""


class Change(Struct, frozen=True):
    """Fields of a task's record that change, the event that says so, an attempt that ended.

    `cut` says why, of an attempt that only its record knows of: the queue has restarted since.
    """

    task_id: str
    fields: Mapping[str, Any]
    event: str
    ended: Attempt | None = None
    result: bytes | None = None
    cut: str | None = None


class Remove(Struct, frozen=True):
    """Delete an ended task."""

    task_id: str


class SetFlag(Struct, frozen=True):
    """A switch of the whole queue, or of a backend, that survives a restart."""

    name: str
    value: bool
    event: str
    backend: str | None = None


class Announce(Struct, frozen=True):
    """Nothing to save, but an event: a backend has gone out or come in."""

    event: str
    backend: str
    reason: str | None = None


class DropKey(Struct, frozen=True):
    """Forget an idempotency key (a digest)."""

    key: bytes


class SaveCron(Struct, frozen=True):
    """A cron as it is now, and the event that says why: with `task_id`, together with that task."""

    cron: Cron
    event: str
    task_id: str | None = None
    reason: str | None = None


class DropCron(Struct, frozen=True):
    """Delete a cron."""

    cron_id: str


Save = Insert | Change | Remove | SetFlag | DropKey | SaveCron | DropCron | Announce

# --- acts ---------------------------------------------------------------------------------------


class Run(Struct, frozen=True):
    """Make this call (the slot is the worker's own). `model` is the backend's own name for the
    task's model, None where that is the task's; `without` is what it refuses of what we add."""

    slot: int
    task_id: str
    attempt: int
    backend: str
    timeout_s: float | None = None
    model: str | None = None
    without: frozenset[str] = frozenset()


class Stop(Struct, frozen=True):
    """End that call; its `Finished` still comes."""

    slot: int
    task_id: str
    attempt: int


class Probe(Struct, frozen=True):
    """Probe a backend after `delay_s`, before its time has come."""

    backend: str
    delay_s: float


class Replace(Struct, frozen=True):
    """The scheduler gives this slot a new worker; the old one is silent or dead."""

    slot: int


Act = Run | Stop | Probe | Replace

Order = Save | Act


def split(orders: Iterable[Order]) -> tuple[list[Save], list[Act]]:
    """The saves and the acts among them, each in their order."""
    saves: list[Save] = []
    acts: list[Act] = []
    for order in orders:
        if isinstance(order, Save):
            saves.append(order)
        else:
            acts.append(order)
    return saves, acts
