"""Which task runs next: takes commands and facts, gives back orders, and does nothing itself.

A command that cannot be done raises `QueueError`; a fact never does: a stale one yields no
orders. Instants (`now`) are seconds since 1970, chance is a number from 0 to 1; both are arguments.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from ..config.config import RetrySettings, SchedulerSettings
from ..messages import Submit, SubmitBatch
from ..model.entry import Entry, KeyUse, entry_of
from ..model.errors import Invalid, NoCapableServer, Unavailable, error_at, unknown_model
from ..model.lifecycle import become
from ..model.orders import (
    Change,
    DropKey,
    Insert,
    Order,
    Remove,
    Replace,
    SetFlag,
)
from ..model.outcomes import Outcome, ProbeResult
from ..model.tasks import Record, Status
from ..routing.routes import Gates, Route, read_route
from .acceptance import accept, route_of
from .capacity import Capacity
from .clock_repair import repair_clock
from .dispatch import Dispatch
from .entries import Entries
from .idempotency import IdempotencyKeys
from .settle import (
    attempt_of,
    give_up,
    interrupt,
    put_back,
    revive,
    settle_attempt,
    utc,
    with_start,
)

CRASHED = "the queue crashed while it ran"


class Plan:
    """The queue's decisions. Knows nothing that the disk could not give back."""

    def __init__(
        self,
        *,
        slots: int,
        gates: Gates,
        retry: RetrySettings,
        scheduler: SchedulerSettings,
        max_tasks: int = 1_000_000,
        max_bytes: int = 4 << 30,
    ) -> None:
        self.dispatch = Dispatch(slots, gates, scheduler)
        self.slots, self.waiting, self.gates = self.dispatch.slots, self.dispatch.waiting, gates
        self.retry = retry
        self.capacity = Capacity(self.waiting, max_tasks, max_bytes)
        self.entries = Entries()
        self.keys = IdempotencyKeys()
        self.paused = False
        self.drain_by: float | None = None

    # --- commands -------------------------------------------------------------------------------

    def recover(
        self,
        waiting: Iterable[Entry],
        interrupted: Iterable[Entry],
        keys: Iterable[tuple[bytes, KeyUse]],
        flags: Iterable[str],
        now: float,
    ) -> list[Order]:
        """Take up what lay on disk; a crash of the queue interrupted what was running.

        `flags` are the names of the switches that are on.
        """
        flags = set(flags)
        self.paused = "paused" in flags
        self.dispatch.restore_drained(flags)
        orders: list[Order] = []
        waiting, interrupted = list(waiting), list(interrupted)
        repair_clock([*waiting, *interrupted], self.retry, now)
        self.entries.add([*waiting, *interrupted])
        self.waiting.fill(waiting, now)
        self.keys.restore(keys, self.entries)
        for entry in interrupted:
            change, left = interrupt(entry, CRASHED, None, now)
            orders.append(replace(change, cut=CRASHED))
            self._let_go(left, change, now)
        return [*orders, *self._dispatch(now)]

    def find(self, submit: Submit | SubmitBatch, now: float) -> str | None:
        """The task or batch that the same idempotency key stands for. Raises `Conflict` for
        another body."""
        return None if submit.key is None else self.keys.match(submit.key, submit.body, now)

    def submit(
        self, task_id: str, command: Submit, now: float, cron_id: str | None = None
    ) -> list[Order]:
        """Take on a task, `cron_id` being the cron whose run it is. Raises `Invalid` where no
        backend may run it, `NotFound` where it must be `listed` and is not, `QueueFull`,
        `Unavailable` when draining."""
        self.check_capacity(1, len(command.spec))
        if command.is_restricted:
            self.check(route_of(command), command.ollama_only)
        if command.listed and not self.gates.lane(read_route(route_of(command))):
            raise unknown_model(command.new.model)
        record = accept(task_id, command, self.retry.max_retries, now, cron_id)
        entry = entry_of(record)
        self.entries[task_id] = entry
        self.waiting.add(entry, now)
        dropped = self._remember(command, task_id, now)
        return [*dropped, Insert(record, command.spec, command.body), *self._dispatch(now)]

    def _remember(self, submit: Submit | SubmitBatch, known: str, now: float) -> list[Order]:
        """Let its idempotency key, if it has one, stand for the task or batch `known`."""
        if submit.key is None:
            return []
        self.keys.add(submit.key, KeyUse(known, submit.body, now))
        return [DropKey(key) for key in self.keys.expire(now)]

    def check(self, key: str, ollama_only: tuple[str, str] | None) -> None:
        """Raise `Invalid` where no backend of the settings may ever run a route,
        `NoCapableServer` where none that has its model can be asked for it."""
        route = read_route(key)
        if self.gates.allowed(route):
            self._check_served(route, ollama_only)
            return
        if ollama_only and self.gates.allowed(replace(route, ollama_only=False)):
            field, why = ollama_only
            raise Invalid(why, field=field)
        field, why = self.gates.why_none(route)
        raise Invalid(why, field=field)

    def _check_served(self, route: Route, ollama_only: tuple[str, str] | None) -> None:
        anywhere = replace(route, ollama_only=False)
        if ollama_only and not self.gates.lane(route) and self.gates.lane(anywhere):
            field, why = ollama_only
            raise NoCapableServer(why, field=field)

    def submit_batch(self, batch_id: str, command: SubmitBatch, now: float) -> list[Order]:
        """Keep room for the tasks of a batch, which wait once they are stored (`take`).

        Raises as `submit` does, naming the task that no backend may run.
        """
        for restricted in command.restricted:
            with error_at(f"tasks[{restricted.index}]"):
                self.check(restricted.route, restricted.ollama_only)
        self.check_capacity(command.count, command.size)
        self.capacity.reserve(command.count, command.size)
        orders = self._remember(command, batch_id, now)
        if command.key is not None:
            self.keys.end(command.key, batch_id)  # it lives 24 h, however long the tasks wait
        return orders

    def enqueue(self, entries: Iterable[Entry], now: float) -> list[Order]:
        """Let tasks of a stored batch wait, for which there is room."""
        for entry in entries:
            self.entries[entry.id] = entry
            self.waiting.add(entry, now)
            self.capacity.release(1, entry.size)
        return list(self._dispatch(now))

    def cancel(self, task_id: str, now: float) -> list[Order]:
        """End a live task at once; a running call keeps its slot until it has ended."""
        running = self.slots.running(task_id)
        was = Status.RUNNING if running else Status.PENDING
        change = become(task_id, was, Status.CANCELLED, completed_at=utc(now), next_attempt_at=None)
        orders: list[Order] = [change if running is None else with_start(change, running)]
        if running is None:
            self.waiting.remove(self.entries[task_id])
        else:
            self.slots.cancel(running)
            orders.extend(self.slots.stop(running, now))
        self._forget(self.entries[task_id])
        return [*orders, *self._dispatch(now)]

    def reprioritize(self, task_id: str, priority: int, now: float) -> list[Order]:
        """Move a live task to another level; its place inside the level goes by its age."""
        entry = self.entries[task_id]
        waits = self.slots.running(task_id) is None
        if waits:
            self.waiting.remove(entry)
        entry.priority = priority
        if waits:
            self.waiting.add(entry, now)
        change = Change(task_id, {"priority": priority}, "priority_updated")
        return [change, *self._dispatch(now)]

    def revive(self, record: Record, now: float) -> list[Order]:
        """Run an ended task anew, behind those of its level that wait already.

        Raises `Conflict` for a completed one, `QueueFull`, `Unavailable` when draining.
        """
        change, entry = revive(record, now)
        self.check_capacity(1, record.size)
        self.entries[entry.id] = entry
        self.waiting.add(entry, now)
        if entry.key is not None:
            self.keys.revive(entry.key, entry.id)
        return [change, *self._dispatch(now)]

    def delete(self, record: Record) -> list[Order]:
        """Forget an ended task and its key."""
        orders: list[Order] = [Remove(record.id)]
        if record.key is not None and self.keys.drop(record.key, record.id):
            orders.append(DropKey(record.key))
        return orders

    def pause(self) -> list[Order]:
        self.paused = True
        return [SetFlag("paused", True, "queue_paused")]

    def resume(self, now: float) -> list[Order]:
        self.paused = False
        return [SetFlag("paused", False, "queue_resumed"), *self._dispatch(now)]

    def drain_backend(self, name: str, value: bool, now: float) -> list[Order]:
        """Give a backend no more calls (True), or some again. Raises `NotFound`."""
        return [*self.dispatch.set_drained(name, value), *self._dispatch(now)]

    def drain(self, grace_s: float, now: float) -> list[Order]:
        """Start nothing more, and stop what still runs after `grace_s` seconds; said again, the
        sooner one counts."""
        by = now + grace_s
        self.drain_by = by if self.drain_by is None else min(by, self.drain_by)
        return self.wake(now)

    # --- facts ----------------------------------------------------------------------------------

    def finished(
        self, slot: int, task_id: str, attempt: int, outcome: Outcome, now: float, chance: float
    ) -> list[Order]:
        """A call has ended."""
        running = self.slots.in_slot(slot)
        if running is None or (running.entry.id, running.attempt) != (task_id, attempt):
            return []  # of an older attempt: whatever it has to say, it is too late
        orders: list[Order] = []
        if not running.cancelled:
            change, entry = settle_attempt(running, outcome, self.retry, now, chance)
            orders.append(with_start(change, running))
            self._let_go(entry, change, now)
        orders.extend(self.dispatch.end(running, outcome, now))
        return [*orders, *self._dispatch(now)]

    def lost(self, slot: int, error: str, now: float) -> list[Order]:
        """The worker of this slot is no more."""
        running = self.slots.in_slot(slot)
        orders: list[Order] = [Replace(slot)]
        if running is not None:
            orders.extend(self.dispatch.end(running, None, now))
            if not running.cancelled:
                ended = attempt_of(running, error, now)
                if running.stop_by is not None:  # its silence is no fault of the task's
                    change, entry = put_back(running.entry, ended), running.entry
                else:
                    change, entry = interrupt(running.entry, error, ended, now)
                orders.append(with_start(change, running))
                self._let_go(entry, change, now)
        return [*orders, *self._dispatch(now)]

    def clock_set(self, step: float, now: float) -> list[Order]:
        """The wall clock was set by `step` seconds, and shows `now`.

        What has lasted so far and what is to last a while keep their lengths; what was asked for
        at an instant is due when the clock shows that.
        """
        if self.drain_by is not None:
            self.drain_by += step
        self.slots.clock_set(step)
        self.keys.clock_set(step)
        self.dispatch.clock_set(step, now)
        return list(self._dispatch(now))

    def probed(self, backend: str, result: ProbeResult, now: float) -> list[Order]:
        """A backend was probed."""
        return [*self.dispatch.probed(backend, result, now), *self._dispatch(now)]

    def wake(self, now: float) -> list[Order]:
        """Time has passed."""
        orders: list[Order] = []
        if self.drain_by is not None and self.drain_by <= now:
            for running in self.slots:
                orders.extend(self.slots.stop(running, now))
        for running in self.slots.overdue(now):
            orders.extend(self.lost(running.slot, "its worker did not stop in time", now))
        return [*orders, *self._dispatch(now)]

    @property
    def next_due(self) -> float | None:
        """When `wake` is needed next."""
        dues = [self.slots.next_overdue]
        if self.drain_by is None:
            dues.append(self.dispatch.next_due)
        elif any(running.stop_by is None for running in self.slots):
            dues.append(self.drain_by)
        return min((due for due in dues if due is not None), default=None)

    @property
    def is_drained(self) -> bool:
        return self.drain_by is not None and not self.slots

    # --- steps ----------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> Iterator[Order]:
        """Fill the free slots with the first that may run; end those that no backend will run."""
        yield from self.dispatch.promote_due(now)
        if self.drain_by is not None:
            return
        for entry, error in self.dispatch.absent_models.expire(now):
            self.waiting.remove(entry)
            self._forget(entry)
            yield give_up(entry, error, now)
        if not self.paused:
            yield from self.dispatch.fill(now)

    def _let_go(self, entry: Entry, change: Change, now: float) -> None:
        """A task runs no more: its entry, as it is now, goes where the change says, back among
        the waiting or out."""
        if change.fields["status"] is Status.PENDING:
            self.entries.replace(entry)
            self.waiting.add(entry, now)
        else:
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        del self.entries[entry.id]
        if entry.key is not None:
            self.keys.end(entry.key, entry.id)

    def check_capacity(self, tasks: int, size: int) -> None:
        """Raises `QueueFull`, or `Unavailable` when draining."""
        if self.drain_by is not None:
            raise Unavailable("the queue is shutting down", retry_after_s=5)
        self.capacity.check(tasks, size)
