"""Decides when crons run, and has the scheduler submit their tasks."""

import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, assert_never

from msgspec.structs import replace

from .base.actor import Actor, Ref, tell
from .base.cooperation import YieldControl, never_yield
from .core.intake.crons import changed, restated, scheduled, task_of
from .core.intake.submission import encode_spec, for_ollama_only
from .core.messages import (
    AddCron,
    ChangeCommand,
    Command,
    Commit,
    CronFired,
    EnableCron,
    GetCron,
    ListCrons,
    RemoveCron,
    RunNow,
    Submit,
    SubmitCronRun,
    ToCronTicker,
    UpdateCron,
    Wake,
)
from .core.messages.command import Reply
from .core.model.crons import Cron, CronAdded, Missed, NewCron
from .core.model.errors import Conflict, NotFound
from .core.model.ids import mint
from .core.model.orders import DropCron, Save, SaveCron
from .core.plan.settle import utc

LATE_S = 60.0  # a run that is later than this was missed; a restart takes less


class CronTicker(Actor):
    """Owns the crons. While the scheduler submits a cron's run, commands for that cron wait."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        crons: Iterable[Cron],
        scheduler: Ref,
        persistence: Ref,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(report, yield_control, clock)
        self.crons = {cron.id: cron for cron in crons}
        self.scheduler, self.persistence = scheduler, persistence
        self.chance = chance or random.Random()
        self.seen = utc(0)  # the last time read from the clock
        self.firing: dict[str, list[Callable[[], None]]] = {}  # with commands that wait

    def on_start(self) -> None:
        self.repair_next_runs(utc(self.clock()))
        self.tick()

    def handle(self, message: ToCronTicker) -> None:
        match message:
            case AddCron():
                self.add(message)
            case UpdateCron() | EnableCron() | RemoveCron() | RunNow():
                self.of_one(message)
            case GetCron(cron_id):
                self.show(message, self.cron(cron_id))
            case ListCrons():
                self.show(message, [self.crons[cron_id] for cron_id in sorted(self.crons)])
            case CronFired(cron):
                self.fired(cron)
            case Wake():
                pass
            case _:
                assert_never(message)
        self.tick()

    # --- commands -------------------------------------------------------------------------------

    def add(self, command: AddCron) -> None:
        new, now = command.new, self.clock()
        cell = new.name, new.tenant  # names are each tenant's own
        named = [cron for cron in self.crons.values() if (cron.name, cron.tenant) == cell]
        if named and command.if_exists is not None:
            self.add_again(command, min(named, key=lambda cron: cron.id), len(named))
            return
        cron_id = mint(int(now * 1e6), self.chance.getrandbits(62))
        facts = {name: getattr(new, name) for name in NewCron.__struct_fields__}
        at = utc(now)
        new_cron = Cron(id=cron_id, created_at=at, updated_at=at, **facts)
        self.save(command, scheduled(new_cron, at), CronAdded(cron_id))

    def add_again(self, command: AddCron, old: Cron, count: int) -> None:
        """Add a cron whose name exists already, `old` being the first with it."""
        name, answer = command.new.name, CronAdded(old.id, created=False)
        if command.if_exists == "error":
            raise Conflict(f"there is a cron named {name!r} already: {old.id}", field="name")
        if command.if_exists == "keep":
            self.show(command, answer)
            return
        if count > 1:
            raise Conflict(
                f"{count} crons are named {name!r}: which one is meant? Remove all but it",
                field="name",
            )
        if old.id in self.firing:
            self.wait(old.id, command)
            return
        restated_cron = restated(old, command.new, command.sets_enabled, utc(self.clock()))
        if restated_cron is old:
            self.show(command, answer)
        else:
            self.save(command, restated_cron, answer)

    def of_one(self, message: UpdateCron | EnableCron | RemoveCron | RunNow) -> None:
        cron, at = self.cron(message.cron_id), utc(self.clock())
        if cron.id in self.firing:
            self.wait(cron.id, message)
            return
        match message:
            case UpdateCron(_, fields):
                now = changed(cron, fields, at)
                self.save(message, now, now)
            case EnableCron(_, enabled):
                now = changed(cron, {"enabled": enabled}, at)
                self.save(message, now, now)
            case RemoveCron(cron_id):
                del self.crons[cron_id]
                drop = DropCron(cron_id, cron.tenant)
                commit = Commit((drop, *message.entries()), at, cron)
                self.pass_on(self.persistence, commit, self.later(message))
            case RunNow():
                self.firing[cron.id] = []
                fire = replace(self.fire(cron, cron), by_hand=True, audit=message.audit)
                self.pass_on(self.scheduler, fire, self.later(message))
            case _:
                assert_never(message)

    def wait(self, cron_id: str, message: Command[Any]) -> None:
        """Hold a command until the scheduler is done with that cron."""
        again = partial(self.pass_on, self.actor_ref, message, self.later(message))
        self.firing[cron_id].append(again)

    def cron(self, cron_id: str) -> Cron:
        cron = self.crons.get(cron_id)
        if cron is None:
            raise NotFound(f"there is no cron {cron_id}", field="id")
        return cron

    def save(self, command: ChangeCommand[Reply], cron: Cron, answer: Reply) -> None:
        self.crons[cron.id] = cron
        saves: tuple[Save, ...] = (SaveCron(cron, "cron_changed"), *command.entries(cron.id))
        commit = Commit(saves, cron.updated_at, answer)
        self.pass_on(self.persistence, commit, self.later(command))

    def show(self, command: Command[Reply], answer: Reply) -> None:
        """Answer through an empty commit, which is answered when all before it is durable."""
        commit = Commit((), utc(self.clock()), answer)
        self.pass_on(self.persistence, commit, self.later(command))

    # --- time -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Run what is due, and arm the timer for the next run."""
        at = utc(self.clock())
        if at < self.seen:
            self.repair_next_runs(at)
        self.seen = at
        for cron in list(self.crons.values()):
            if cron.next_run is not None and cron.next_run <= at and cron.id not in self.firing:
                self.run(cron, cron.next_run, at)
        dues = [
            cron.next_run.timestamp()
            for cron in self.crons.values()
            if cron.next_run is not None and cron.id not in self.firing
        ]
        self.wake_at(min(dues, default=None))

    def repair_next_runs(self, at: datetime) -> None:
        """Recompute next runs: the clock may have been ahead when they were computed."""
        for cron in list(self.crons.values()):
            if cron.id not in self.firing:
                self.repair_next_run(cron, at)

    def repair_next_run(self, cron: Cron, at: datetime) -> None:
        if cron.next_run is None or cron.next_run <= at:
            return
        right = scheduled(cron, at)
        if right.next_run is not None and right.next_run < cron.next_run:
            self.crons[cron.id] = right
            tell(self.persistence, Commit((SaveCron(right, "cron_changed"),), at, right))

    def run(self, cron: Cron, due: datetime, at: datetime) -> None:
        """Coalesce overdue runs into one; skip a run older than `LATE_S`."""
        after = scheduled(cron, max(at, due))
        if cron.missed is Missed.SKIP and (at - due).total_seconds() > LATE_S:
            self.crons[cron.id] = after
            reason = f"the queue was not running at {due:%Y-%m-%dT%H:%M:%SZ}, when it was due"
            saves = (SaveCron(after, "cron_skipped", reason=reason),)
            tell(self.persistence, Commit(saves, at, after))
            return
        self.firing[cron.id] = []
        tell(self.scheduler, self.fire(cron, after))

    def fire(self, cron: Cron, after: Cron) -> SubmitCronRun:
        new = task_of(cron)
        submit = Submit(new, encode_spec(new), ollama_only=for_ollama_only(new))
        return SubmitCronRun(submit, after, self.actor_ref)

    def fired(self, cron: Cron) -> None:
        """Take the cron back from the scheduler, and resend the commands that waited for it."""
        if cron.id not in self.firing:
            return
        self.crons[cron.id] = cron
        waiting = self.firing.pop(cron.id)
        self.repair_next_run(cron, utc(self.clock()))
        for again in waiting:
            again()
