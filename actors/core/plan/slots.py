"""The worker slots, and the calls that occupy them."""

from collections.abc import Iterator

from msgspec import Struct

from ..model.entry import Entry
from ..model.orders import Stop
from ..routing.gates import Gate

STOP_PATIENCE_S = 5.0  # a worker that does not end a stopped call in this time is replaced


class Running(Struct, gc=False):
    """One call in its slot. `fallback` is the name of its model if that is not the task's own.

    `loads`: its model was not in the backend's memory. `charged`: its tenant's provisional charge,
    in the level of `priority`. `is_moved`: the clock was set while it ran, and `started_at` was
    adjusted.
    """

    entry: Entry
    slot: int
    gate: Gate
    model: str
    attempt: int
    priority: int
    started_at: float
    fallback: str | None = None
    loads: bool = False
    is_moved: bool = False
    charged: float = 0.0
    cancelled: bool = False
    stop_by: float | None = None  # a Stop was sent; at this time the worker is replaced


class Slots:
    """A slot and its gate stay occupied until its call has ended, cancelled or not."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(reversed(range(count)))  # last freed, first used: it is warm
        self._busy: dict[int, Running] = {}
        self._slot_of: dict[str, int] = {}  # of running tasks that were not cancelled
        self._stopping: dict[int, Running] = {}  # those of the busy that were ordered to stop

    def __len__(self) -> int:
        return len(self._busy)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._busy.values()))

    @property
    def free(self) -> int:
        return len(self._free)

    def occupy(self, entry: Entry, gate: Gate, model: str, now: float) -> Running:
        slot = self._free.pop()
        running = Running(entry, slot, gate, model, entry.attempt, entry.priority, now)
        self._busy[slot] = running
        self._slot_of[entry.id] = slot
        return running

    def release(self, running: Running) -> None:
        del self._busy[running.slot]
        if not running.cancelled:
            del self._slot_of[running.entry.id]
        self._stopping.pop(running.slot, None)
        self._free.append(running.slot)

    def in_slot(self, slot: int) -> Running | None:
        return self._busy.get(slot)

    def running(self, task_id: str) -> Running | None:
        """The task's call, unless it was cancelled."""
        slot = self._slot_of.get(task_id)
        return None if slot is None else self._busy[slot]

    def cancel(self, running: Running) -> None:
        """Detach the task from its call, which still has to end."""
        running.cancelled = True
        del self._slot_of[running.entry.id]

    def stop(self, running: Running, now: float) -> Iterator[Stop]:
        """Order the call to stop, once."""
        if running.stop_by is None:
            running.stop_by = now + STOP_PATIENCE_S
            self._stopping[running.slot] = running
            yield Stop(running.slot, running.entry.id, running.attempt)

    def clock_set(self, step: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds."""
        for running in self._busy.values():
            running.started_at += step
            running.entry.queued_at += step
            running.is_moved = True
            if running.stop_by is not None:
                running.stop_by += step

    def overdue(self, now: float) -> list[Running]:
        """Calls that did not end in time after a Stop."""
        stopping = self._stopping.values()
        return [r for r in stopping if r.stop_by is not None and r.stop_by <= now]

    @property
    def next_overdue(self) -> float | None:
        if not self._stopping:
            return None
        return min(r.stop_by for r in self._stopping.values() if r.stop_by is not None)
