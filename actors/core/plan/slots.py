"""The slots of this server and of the others, and the calls that occupy them."""

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from ..model.entry import Entry
from ..model.orders import AssignedCall, Run, SaveCall, Stop
from ..routing.gates import Gate

STOP_PATIENCE_S = 5.0  # a worker that does not end a stopped call in this time is replaced


class Running(Struct, gc=False):
    """One call in its slot. `fallback` is the name of its model if that is not the task's own.

    `loads`: its model was not in the backend's memory. `charged`: its tenant's provisional charge,
    in the level of `priority`. `is_moved`: the clock was set while it ran, and `started_at` was
    adjusted. `server`: the other server that makes it, by `assigned`; None: this one.
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
    server: str | None = None
    assigned: AssignedCall | None = None


class Slots:
    """A slot and its gate stay occupied until its call has ended, cancelled or not.

    Those of other servers come and go (`staff`). A slot whose server has left, or has fewer now,
    is gone once it is free.
    """

    def __init__(self, count: int) -> None:
        """`count` slots of this server."""
        self._own = count
        self._next = count  # the number of the next slot of another server
        self._free = list(reversed(range(count)))  # last freed, first used: it is warm
        self._others: dict[str, list[int]] = {}  # free slots, by server
        self._staff: dict[str, int] = {}  # how many slots each server has
        self._calls: dict[str, int] = {}  # how many calls each other server makes
        self._busy: dict[int, Running] = {}
        self._slot_of: dict[str, int] = {}  # of running tasks that were not cancelled
        self._assigned: dict[str, Running] = {}  # calls of other servers, by key
        self._stopping: dict[int, Running] = {}  # those of the busy that were ordered to stop

    def __len__(self) -> int:
        return len(self._busy)

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self._busy.values()))

    @property
    def count(self) -> int:
        """How many calls all servers make at once."""
        return self._own + sum(self._staff.values())

    @property
    def free(self) -> int:
        return len(self._free) + sum(map(len, self._others.values()))

    @property
    def own(self) -> Iterator[Running]:
        """The calls that this server makes itself."""
        return (running for running in self if running.server is None)

    # --- other servers --------------------------------------------------------------------------

    def has(self, server: str) -> bool:
        """Whether it is of the staff."""
        return server in self._staff

    def staff(self, servers: Mapping[str, int]) -> list[Running]:
        """Take in which other servers there are, and how many calls each makes at once. Returns the
        calls of those that are gone."""
        gone = {each.server for each in self._assigned.values()} - servers.keys()
        self._staff = dict(servers)
        self._others = {server: free for server, free in self._others.items() if server in servers}
        for server, count in servers.items():
            free, busy = self._others.setdefault(server, []), self._calls.get(server, 0)
            while len(free) + busy < count:
                free.append(self._new_slot())
            del free[max(count - busy, 0) :]
        return [each for each in self._assigned.values() if each.server in gone]

    def adopt(self, entry: Entry, gate: Gate, call: AssignedCall, *, cancelled: bool) -> Running:
        """Occupy a slot with a call that its server makes already."""
        free = self._others.get(call.server)
        slot = free.pop() if free else self._new_slot()
        running = Running(entry, slot, gate, call.model, entry.attempt, entry.priority, 0.0)
        running.started_at, running.fallback = call.started_at, call.run.fallback
        running.server, running.cancelled = call.server, cancelled
        self._occupy(running)
        self._assign(running, call)
        return running

    def assign(self, running: Running, run: Run) -> SaveCall:
        """Have the call's server make it."""
        assert running.server is not None, "not a call of this server"
        call = AssignedCall(running.server, running.model, run, running.started_at)
        return self._assign(running, call)

    def assigned(self, key: str) -> Running | None:
        """The call of another server, by its key."""
        return self._assigned.get(key)

    def _assign(self, running: Running, call: AssignedCall) -> SaveCall:
        running.assigned = call
        self._assigned[call.key] = running
        self._calls[call.server] = self._calls.get(call.server, 0) + 1
        return SaveCall(call)

    def _new_slot(self) -> int:
        self._next += 1
        return self._next - 1

    # --- calls ----------------------------------------------------------------------------------

    def occupy(self, entry: Entry, gate: Gate, model: str, now: float) -> Running:
        """Occupy a free slot, of the server that has most of them: of this one, if it has as many
        as others."""
        server = None
        if self._others:
            server = max(self._others, key=lambda each: len(self._others[each]))
            if len(self._free) >= len(self._others[server]):
                server = None
        slot = (self._free if server is None else self._others[server]).pop()
        running = Running(entry, slot, gate, model, entry.attempt, entry.priority, now)
        running.server = server
        self._occupy(running)
        return running

    def _occupy(self, running: Running) -> None:
        self._busy[running.slot] = running
        if not running.cancelled:
            self._slot_of[running.entry.id] = running.slot

    def release(self, running: Running) -> None:
        del self._busy[running.slot]
        if not running.cancelled:
            del self._slot_of[running.entry.id]
        self._stopping.pop(running.slot, None)
        if running.assigned is None:
            self._free.append(running.slot)
        else:
            self._release_assigned(running, running.assigned)

    def _release_assigned(self, running: Running, call: AssignedCall) -> None:
        del self._assigned[call.key]
        busy = self._calls[call.server] = self._calls[call.server] - 1
        if not busy:
            del self._calls[call.server]
        free = self._others.get(call.server)
        if free is not None and len(free) + busy < self._staff[call.server]:
            free.append(running.slot)

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

    def stop(self, running: Running, now: float) -> Iterator[Stop | SaveCall]:
        """Order the call to stop, once."""
        if running.stop_by is None:
            running.stop_by = now + STOP_PATIENCE_S
            self._stopping[running.slot] = running
            if running.assigned is None:
                yield Stop(running.slot, running.entry.id, running.attempt)
            else:
                running.assigned = replace(running.assigned, stop=True)
                yield SaveCall(running.assigned)

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
