"""Decides which task runs next: takes commands and facts, returns orders, has no side effects.

An impossible command raises `QueueError`; a fact never does: a stale one returns no orders.
Instants (`now`) are seconds since 1970, `chance` is a number from 0 to 1; both are arguments.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from ..access.key_book import KeyBook, info_of
from ..access.keys import Grant
from ..access.quotas import Quotas
from ..config.config import RetrySettings, SchedulerSettings
from ..messages import ClaimKey, Submit, SubmitBatch
from ..model.access_keys import AccessKey, KeyInfo, TenantUsage
from ..model.entry import Entry, KeyUse, entry_of
from ..model.errors import Invalid, NoCapableServer, Unavailable, error_at, unknown_model
from ..model.lifecycle import become
from ..model.orders import (
    AssignedCall,
    Change,
    DropAccessKey,
    DropCall,
    DropKey,
    Insert,
    Order,
    Remove,
    Replace,
    SaveAccessKey,
    SetFlag,
)
from ..model.outcomes import CallEnd, Failed, Outcome, ProbeResult
from ..model.tasks import ErrorCode, Record, Status
from ..routing.placement import Gates
from ..routing.routes import Route, read_route
from .acceptance import accept, route_of
from .capacity import Capacity
from .clock_repair import repair_clock
from .deadlines import check_deadline, why_expired
from .dispatch import Dispatch, earlier
from .entries import Entries
from .idempotency import IdempotencyKeys
from .settle import (
    attempt_of,
    end,
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
    """The queue's decisions. All of its state can be rebuilt from disk."""

    def __init__(
        self,
        *,
        slots: int,
        gates: Gates,
        retry: RetrySettings,
        scheduler: SchedulerSettings,
        max_tasks: int = 1_000_000,
        max_bytes: int = 4 << 30,
        grants: Iterable[Grant] = (),
        hands_over: bool = False,
    ) -> None:
        """`hands_over`: it accepts tasks while it drains, as another server will run them."""
        self.hands_over = hands_over
        self.dispatch = Dispatch(slots, gates, scheduler)
        self.slots, self.waiting, self.gates = self.dispatch.slots, self.dispatch.waiting, gates
        self.retry = retry
        self.capacity = Capacity(self.waiting, max_tasks, max_bytes)
        self.quotas = Quotas(self.waiting)
        self.access = KeyBook(grants)
        self._apply_limits()
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
        calls: Iterable[AssignedCall] = (),
    ) -> Generator[None, None, list[Order]]:
        """Restore the state from disk, and go on, in steps; `interrupted` were running when the
        queue crashed, but those of `calls` still run, unless their server is not of the `staff`.

        `flags` are the names of the flags that are set.
        """
        orders: list[Order] = []
        running = {entry.id: entry for entry in interrupted}
        yield from self.restore(waiting, running.values(), flags, now)
        self.keys.restore(keys, self.entries)
        for call in calls:
            orders.extend(self.dispatch.adopt(call, running, now))
        for entry in running.values():
            change, left = interrupt(entry, CRASHED, None, now)
            orders.append(replace(change, cut=CRASHED))
            self._let_go(left, change, now)
        return [*orders, *self._dispatch(now)]

    def restore(
        self,
        waiting: Iterable[Entry],
        interrupted: Iterable[Entry],
        flags: Iterable[str],
        now: float,
    ) -> Iterator[None]:
        """Restore the state from disk, in steps, and decide nothing: late tasks still wait."""
        flags = set(flags)
        self.paused = "paused" in flags
        self.dispatch.restore_drained(flags)
        waiting, interrupted = list(waiting), list(interrupted)
        yield
        repair_clock([*waiting, *interrupted], self.retry, now)
        yield
        self.entries.add([*waiting, *interrupted])
        yield
        self.waiting.start_waits(now)
        yield from self.waiting.fill(waiting, now)
        yield

    def restore_access(self, keys: Iterable[AccessKey], usages: Mapping[str, TenantUsage]) -> None:
        """Restore the API keys and what tenants have used, before `recover`."""
        self.access.restore(keys)
        self.quotas.usages = dict(usages)
        self._apply_limits()

    def _apply_limits(self) -> None:
        limits = self.quotas.limits = self.access.limits
        caps = {t: each.max_running for t, each in limits.items() if each.max_running is not None}
        self.dispatch.cap(caps)

    def add_key(self, key: AccessKey, now: float) -> tuple[list[Order], KeyInfo]:
        """Add an API key. Raises `Conflict`."""
        self.access.add(key)
        self._apply_limits()
        return [SaveAccessKey(key), *self._dispatch(now)], info_of(key)

    def rotate_key(self, name: str, digest: bytes, hint: str) -> tuple[list[Order], KeyInfo]:
        """Replace the key of a name. Raises `NotFound`, `Conflict`."""
        key = self.access.rotate(name, digest, hint)
        return [SaveAccessKey(key)], info_of(key)

    def revoke_key(self, name: str, now: float) -> tuple[list[Order], KeyInfo]:
        """Delete an API key. Raises `NotFound`, `Conflict`."""
        info = info_of(self.access.revoke(name))
        self._apply_limits()
        return [DropAccessKey(name), *self._dispatch(now)], info

    def key_infos(self, now: float) -> list[KeyInfo]:
        """All keys as lists show them, with what is left of their budgets."""
        tenants = {grant.name: grant.tenant for grant in self.access.grants}
        return [
            replace(info, budgets=self.quotas.budgets(tenants[info.name], now))
            for info in self.access.infos
        ]

    def claim_key(self, claim: ClaimKey, now: float) -> tuple[str, list[Order]]:
        """The batch that a key belongs to: this one, unless it is known. Raises `Conflict` if it
        was used for another request."""
        known = self.find(claim, now)
        if known is not None:
            return known, []
        orders = self._remember(claim, claim.batch_id, now)
        self.keys.end(claim.key, claim.batch_id)  # valid for 24 h, however long the tasks wait
        return claim.batch_id, orders

    def find(self, submit: Submit | SubmitBatch | ClaimKey, now: float) -> str | None:
        """The task or batch already submitted with the same idempotency key, or None. Raises
        `Conflict` if its body differs."""
        return None if submit.key is None else self.keys.match(submit.key, submit.body, now)

    def submit(
        self, task_id: str, command: Submit, now: float, cron_id: str | None = None
    ) -> list[Order]:
        """Accept a task; `cron_id` is the cron whose run it is. Raises `Invalid` if no backend can
        run it, `NotFound` if its model must be `listed` and is not, `QueueFull`, `Unavailable`
        when draining."""
        self.check_capacity(1, len(command.spec))
        tenant = command.new.tenant
        self.quotas.check(tenant, 1, now)
        check_deadline(command.new.deadline, now)
        if command.is_restricted:
            self.check(route_of(command), command.ollama_only)
        if command.listed and not self.gates.lane(read_route(route_of(command))):
            raise unknown_model(command.new.model)
        record = accept(task_id, command, self.retry.max_retries, now, cron_id)
        entry = entry_of(record)
        self.entries[task_id] = entry
        self.waiting.add(entry, now)
        dropped = self._remember(command, task_id, now)
        insert = Insert(record, command.spec, command.body)
        used = self.quotas.accepted(tenant, 1, now)
        return [*dropped, insert, *used, *self._dispatch(now)]

    def _remember(
        self, submit: Submit | SubmitBatch | ClaimKey, known: str, now: float
    ) -> list[Order]:
        """Record the submission's idempotency key, if any, for the task or batch `known`."""
        if submit.key is None:
            return []
        self.keys.add(submit.key, KeyUse(known, submit.body, now))
        return [DropKey(key) for key in self.keys.expire(now)]

    def check(self, key: str, ollama_only: tuple[str, str] | None) -> None:
        """Raise `Invalid` if no configured backend can ever run a route, `NoCapableServer` if none
        of those with its model supports it."""
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
        """Reserve capacity for a batch, whose tasks wait once they are stored (`enqueue`).

        Raises as `submit` does, naming the task that no backend can run.
        """
        for restricted in command.restricted:
            with error_at(f"tasks[{restricted.index}]"):
                self.check(restricted.route, restricted.ollama_only)
        if command.earliest is not None:
            index, deadline = command.earliest
            with error_at(f"tasks[{index}]"):
                check_deadline(deadline, now)
        self.check_capacity(command.count, command.size)
        self.quotas.check(command.tenant, command.count, now)
        self.capacity.reserve(command.count, command.size)
        self.quotas.reserve(command.tenant, command.count)
        orders = self._remember(command, batch_id, now)
        orders.extend(self.quotas.accepted(command.tenant, command.count, now))
        if command.key is not None:
            self.keys.end(command.key, batch_id)  # valid for 24 h, however long the tasks wait
        return orders

    def enqueue(self, entries: Iterable[Entry], now: float) -> list[Order]:
        """Queue tasks of a stored batch, whose capacity is reserved."""
        for entry in entries:
            self.entries[entry.id] = entry
            self.waiting.add(entry, now)
            self.capacity.release(1, entry.size)
            self.quotas.reserve(entry.tenant, -1)
        return list(self._dispatch(now))

    def cancel(self, task_id: str, now: float, reason: str | None = None) -> list[Order]:
        """Cancel a live task at once; a running call keeps its slot until it has ended."""
        running = self.slots.running(task_id)
        was = Status.RUNNING if running else Status.PENDING
        facts: dict[str, Any] = {"completed_at": utc(now), "next_attempt_at": None}
        if reason is not None:
            facts["error"] = reason
        change = become(task_id, was, Status.CANCELLED, **facts)
        orders: list[Order] = [change if running is None else with_start(change, running)]
        if running is None:
            self.waiting.remove(self.entries[task_id])
        else:
            self.slots.cancel(running)
            orders.extend(self.slots.stop(running, now))
        self._forget(self.entries[task_id])
        return [*orders, *self._dispatch(now)]

    def reprioritize(self, task_id: str, priority: int, now: float) -> list[Order]:
        """Move a live task to another priority level; age decides its place in the level."""
        entry = self.entries[task_id]
        waits = self.slots.running(task_id) is None
        if waits:
            self.waiting.remove(entry)
        entry.priority = priority
        if waits:
            self.waiting.add(entry, now)
        change = Change(task_id, {"priority": priority}, "priority_updated")
        return [change, *self._dispatch(now)]

    def revive(self, record: Record, now: float, expires_in: float | None = None) -> list[Order]:
        """Queue an ended task again, after those of its level that already wait.

        It loses a deadline that has passed; `expires_in` (seconds) sets a new one. Raises
        `Conflict` for a completed task, `QueueFull`, `Unavailable` when draining.
        """
        change, entry = revive(record, now, expires_in)
        self.check_capacity(1, record.size)
        self.quotas.check(record.tenant, 1, now)
        self.entries[entry.id] = entry
        self.waiting.add(entry, now)
        if entry.key is not None:
            self.keys.revive(entry.key, entry.id)
        return [change, *self._dispatch(now)]

    def delete(self, record: Record) -> list[Order]:
        """Delete an ended task and its key."""
        orders: list[Order] = [Remove(record.id)]
        if record.key is not None and self.keys.drop(record.key, record.id):
            orders.append(DropKey(record.key))
        return orders

    def pause(self) -> list[Order]:
        self.paused = True
        return [SetFlag("paused", True, "queue_paused")]

    def resume(self, now: float) -> list[Order]:
        self.paused = False
        self.waiting.start_waits(now)
        return [SetFlag("paused", False, "queue_resumed"), *self._dispatch(now)]

    def drain_backend(self, name: str, value: bool, now: float) -> list[Order]:
        """Stop (True) or resume (False) sending calls to a backend. Raises `NotFound`."""
        return [*self.dispatch.set_drained(name, value), *self._dispatch(now)]

    def drain(self, grace_s: float, now: float) -> list[Order]:
        """Start no more tasks, and stop those still running after `grace_s` seconds; of several
        calls the earliest deadline counts."""
        by = now + grace_s
        self.drain_by = by if self.drain_by is None else min(by, self.drain_by)
        return self.wake(now)

    # --- facts ----------------------------------------------------------------------------------

    def finished(
        self, slot: int, task_id: str, attempt: int, outcome: Outcome, now: float, chance: float
    ) -> list[Order]:
        """Handle the end of a call."""
        running = self.slots.in_slot(slot)
        if running is None or (running.entry.id, running.attempt) != (task_id, attempt):
            return []  # stale: from an older attempt
        orders: list[Order] = []
        if not running.cancelled:
            other = None
            if isinstance(outcome, Failed):
                other = self.gates.fallbacks.without(running.entry.route, running.model)
            change, entry = settle_attempt(running, outcome, self.retry, now, chance, other)
            orders.append(with_start(change, running))
            self._let_go(entry, change, now)
        orders.extend(self.dispatch.end(running, outcome, now))
        orders.extend(self.quotas.ended(running.entry.tenant, outcome, now))
        return [*orders, *self._dispatch(now)]

    def lost(self, slot: int, error: str, now: float) -> list[Order]:
        """Handle the death of a slot's worker, or of the server that made its call."""
        running = self.slots.in_slot(slot)
        orders: list[Order] = []
        if running is None or running.server is None:
            orders.append(Replace(slot))
        if running is not None:
            orders.extend(self.dispatch.end(running, None, now))
            if not running.cancelled:
                ended = attempt_of(running, error, now)
                if running.stop_by is not None:  # it was stopped: not the task's fault
                    change, entry = put_back(running.entry, ended), running.entry
                else:
                    change, entry = interrupt(running.entry, error, ended, now)
                orders.append(with_start(change, running))
                self._let_go(entry, change, now)
        return [*orders, *self._dispatch(now)]

    def call_ended(self, key: str, end: CallEnd, now: float, chance: float) -> list[Order]:
        """Handle the end of a call that another server has made."""
        running = self.slots.assigned(key)
        if running is None:
            return [DropCall(key)]
        if end.outcome is None:
            return self.lost(running.slot, end.error, now)
        task_id, attempt = running.entry.id, running.attempt
        return self.finished(running.slot, task_id, attempt, end.outcome, now, chance)

    def staff(self, servers: Mapping[str, int], now: float) -> list[Order]:
        """Take in which other servers there are, by id, and how many calls each makes at once. The
        calls of those that are gone are lost."""
        orders: list[Order] = []
        for running in self.slots.staff(servers):
            orders.extend(self.lost(running.slot, "the server that made its call is gone", now))
        return [*orders, *self._dispatch(now)]

    def clock_set(self, step: float, now: float) -> list[Order]:
        """Adjust to a change of the wall clock by `step` seconds, to `now`.

        Elapsed times and delays keep their lengths; tasks scheduled for an instant are due when the
        clock shows it.
        """
        if self.drain_by is not None:
            self.drain_by += step
        self.slots.clock_set(step)
        self.keys.clock_set(step)
        self.dispatch.clock_set(step, now)
        self.entries.deadlines.refill()
        return list(self._dispatch(now))

    def probed(self, backend: str, result: ProbeResult, now: float) -> list[Order]:
        """Handle the result of a backend's probe."""
        return [*self.dispatch.probed(backend, result, now), *self._dispatch(now)]

    def model_kept(self, backend: str, model: str, error: str | None, now: float) -> None:
        """Handle the end of a load of a pinned model; `error` says why it failed."""
        self.dispatch.kept(backend, model, error, now)

    def wake(self, now: float) -> list[Order]:
        """Handle what is due by now."""
        orders: list[Order] = []
        if self.drain_by is not None and self.drain_by <= now:
            for running in self.slots.own:
                orders.extend(self.slots.stop(running, now))
        for running in self.slots.overdue(now):
            orders.extend(self.lost(running.slot, "its worker did not stop in time", now))
        return [*orders, *self._dispatch(now)]

    @property
    def next_due(self) -> float | None:
        """When `wake` is needed next."""
        due = earlier(self.slots.next_overdue, self.entries.deadlines.next_due)
        if self.drain_by is None:
            return earlier(due, self.dispatch.next_due)
        if any(running.stop_by is None for running in self.slots.own):
            return earlier(due, self.drain_by)
        return due

    @property
    def is_drained(self) -> bool:
        """Whether this server makes no calls, and begins none. Those of others go on."""
        return self.drain_by is not None and next(self.slots.own, None) is None

    # --- steps ----------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> Iterator[Order]:
        """Fill the free slots with the next tasks; fail those that are late, and those that no
        backend will run."""
        yield from self.dispatch.promote_due(now)
        deadlines = self.entries.deadlines
        if deadlines.is_due(now):
            for entry in deadlines.expired(now):
                yield from self._expire(entry, now)
            if deadlines.is_due(now):
                return  # there are more: the next wake is due
        if self.drain_by is not None:
            return
        for entry, error in self.dispatch.absent_models.expire(now):
            self.waiting.remove(entry)
            self._forget(entry)
            yield give_up(entry, error, now)
        if not self.paused:
            yield from self.dispatch.fill(now)

    def _expire(self, entry: Entry, now: float) -> Iterator[Order]:
        """Fail a task that is late; a running call keeps its slot until it has ended."""
        error, running = why_expired(entry, now), self.slots.running(entry.id)
        code = ErrorCode.EXPIRED
        if running is None:
            self.waiting.remove(entry)
            yield give_up(entry, error, now, code)
        else:
            ended = attempt_of(running, error, now)
            change = end(entry, Status.FAILED, ended, now, error=error, code=code)
            yield with_start(change, running)
            self.slots.cancel(running)
            yield from self.slots.stop(running, now)
        self._forget(entry)

    def _let_go(self, entry: Entry, change: Change, now: float) -> None:
        """Handle a task that stopped running: queue its entry again or drop it, as the change
        says."""
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
        """Raises `QueueFull`, or `Unavailable` when draining for good."""
        if self.drain_by is not None and not self.hands_over:
            raise Unavailable("the queue is shutting down", retry_after_s=5)
        self.capacity.check(tasks, size)
