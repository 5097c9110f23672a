"""Supervises a queue on PostgreSQL: its actors run while this server leads."""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from ollama_queue import __version__

from ..base.actor import INTERNAL_ERROR, Ref, ask, log, start, stop, tell
from ..base.relayed_streams import OpenRelay
from ..core.config.config import Config, FleetSettings, LoggingSettings, ServerSettings
from ..core.fleet.refusals import refusal
from ..core.fleet.servers import Sight
from ..core.messages import (
    Crashed,
    Deposed,
    Elected,
    LendStream,
    ReturnStream,
    ServersSeen,
    ToFleetSystem,
)
from ..core.messages.election import Resign, Rest, Retreat, ShowRefusal
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from ..core.model.orders import PlacedCall
from ..files.free_space import why_unwritten
from ..fleet.election import Election
from ..fleet.end_reader import EndReader
from ..fleet.stream_relay import SILENCE_S, StreamRelay
from ..fleet.warm_connections import WarmConnections
from ..store.postgres.connections import PostgresError
from ..store.postgres.leadership import Me, shared_secret
from ..store.postgres.saving import Fenced, try_to_write
from ..store.postgres.schema import prepare
from ..store.postgres.store import PostgresStore
from .assigned_calls import AssignedCalls
from .following import Following
from .generation import Runtime
from .switchboard import Switchboard
from .system import MAX_REBOOTS, REBOOT_WINDOW_S, System

FIRST_REST_S = 0.1  # before this server tries to lead again after its store failed; then doubled
LAST_REST_S = 30.0
RESIGN_S = 3.0
READER, NO_GENERATION = "Reader", -1


class FleetSystem(System):
    """Has an `Election` tell it when to start and stop the actors.

    Each lead has an epoch of its own, also one that follows a crash: what an earlier one has sent
    to the database, and nobody knows of, is refused from then on.
    """

    def __init__(self, config: Config, runtime: Runtime, switchboard: Switchboard) -> None:
        super().__init__(config, runtime, switchboard)
        self.plain_runtime = runtime
        self.me = Me(
            id=str(uuid4()),
            url=config.fleet.url or runtime.url,
            slots=config.workers,
            version=__version__,
            settings=_digest(config),
        )
        self.election: Ref | None = None
        self.assigned = AssignedCalls(config, runtime, self.me.id)
        self.staff: dict[str, int] = {self.me.id: 0}
        self.connections = WarmConnections(SILENCE_S)  # for streams of other servers
        self.following = Following(self.database, runtime, switchboard, self.make_relays)
        self.restarts: deque[float] = deque(maxlen=MAX_REBOOTS)  # of these actors
        self.epoch: int | None = None  # while the actors run
        self.store: PostgresStore | None = None  # the last one that they opened
        self.rest_s = FIRST_REST_S

    @property
    def database(self) -> str:
        assert self.config.queue.storage is not None, "a fleet has one"
        return self.config.queue.storage

    def on_start(self) -> None:
        self.election = start(
            Election,
            self.on_fatal,
            yield_control=self.runtime.yield_control,
            conninfo=self.database,
            me=self.me,
            ttl_s=self.config.fleet.ttl,
            system=self.actor_ref,
            prepare=self.prepare,
            see=self.see,
            miss=self.switchboard.miss,
        )
        self.assigned.begin(self.runtime.on_fatal)
        self.switchboard.assigned_bus = self.assigned.bus
        self.begin_to_follow()

    def see(self, sight: Sight) -> None:
        """In the thread of the Election: note who is there."""
        self.switchboard.see(sight, self.config.fleet.ttl)
        silent_s = self.config.fleet.ttl / 2
        tell(self.actor_ref, ServersSeen(staff_of(sight, self.me.id, silent_s)))

    def begin_to_follow(self) -> None:
        """Have this server answer reads while it does not lead. Raises `Unavailable`."""
        me = self.actor_ref
        self.following.begin(lambda error: tell(me, Crashed(READER, NO_GENERATION, error)))

    def follow_again(self, error: str) -> None:
        """What answers reads has crashed: start it anew, unless that happens too often."""
        now = time.monotonic()
        is_bad = len(self.restarts) == MAX_REBOOTS and now - self.restarts[0] < REBOOT_WINDOW_S
        self.restarts.append(now)
        self.following.down()
        try:
            if not (is_bad or self.has_ended):
                self.begin_to_follow()
                return
        except QueueError as failed:
            self.following.down()
            error = failed.message
        log.error("this server answers no reads but as the leader: %s", error)

    def prepare(self) -> None:
        prepare(self.database)
        self.switchboard.seal.secret = shared_secret(self.database)

    def on_fatal(self, error: str) -> None:
        """The Election has crashed: without it nobody would notice that this server's lead ends."""
        self.runtime.on_fatal(f"Election crashed: {error}")

    def on_close(self) -> None:
        self.following.down()
        if self.election is not None:
            stop(self.election, 1.0)
        self.connections.close()
        super().on_close()

    def handle(self, message: ToFleetSystem) -> None:
        match message:
            case Elected(epoch):
                self.lead(epoch)
            case ServersSeen(slots):
                if slots != self.staff:
                    self.staff = slots
                    is_deciding = self.epoch is not None and not self.is_read_only
                    if is_deciding and self.boot.scheduler is not None:
                        tell(self.boot.scheduler, message)
            case Deposed(epoch, why):
                if epoch == self.epoch:
                    log.warning("this server leads no more: %s", why)
                    if self.store is not None:
                        self.store.abandon()
                    self.drop("this server leads no more; it may have been done")
            case Crashed(actor, _, error) if actor == READER:
                self.follow_again(error)
            case _:
                super().handle(message)

    def lead(self, epoch: int) -> None:
        if self.has_ended:
            return
        if self.epoch is not None:
            self.drop("the queue restarts; it may have been done")
        self.runtime = replace(
            self.plain_runtime,
            open_store=lambda place, url, read_only: self.open_store(None if read_only else epoch),
            watch_ends=partial(EndReader, self.database),
            make_relays=self.make_relays,
            staff=self.staff,
        )
        try:
            self.begin()
        except QueueError as error:
            log.error("this server cannot lead: %s", error.message)
            self.switchboard.miss(error.message)
            if refused := refusal(error.message):
                self.only_read(epoch, refused)
            else:
                self.rest(epoch)
            return
        self.epoch = epoch
        log.info("this server leads the queue (epoch %d)", epoch)

    def open_store(self, epoch: int | None) -> PostgresStore:
        self.store = PostgresStore(self.database, epoch)
        return self.store

    def make_relays(self, bus: Ref) -> OpenRelay:
        def open_relay(call: PlacedCall, pause_s: float) -> Callable[[], None]:
            here = self.assigned.bus
            if call.server == self.me.id and here is not None and not pause_s:
                lent = LendStream(call.task_id, call.attempt, bus)
                tell(here, lent)
                return partial(tell, here, ReturnStream(lent))
            return StreamRelay(call, bus, self.switchboard.where, pause_s, self.connections).begin()

        return open_relay

    def drop(self, why: str) -> None:
        """Stop the actors. What they have not answered may have been done."""
        self.generation, self.epoch = 0, None
        self.switchboard.disconnect(OutcomeUnknown(why, retry_after_s=1))
        if self.is_read_only:
            self.is_read_only = False
            self.tell_election(ShowRefusal(None))
        if not self.boot.down("restarted"):
            log.warning("a statement is still under way in queue.storage: its epoch is over")

    def reboot(self, actor: str, error: str) -> None:
        """Restart in a new epoch: at once after a crash, at most 3 times a minute; after a failure
        of the store, as soon as it answers. While PostgreSQL refuses what is written, only read."""
        epoch, now = self.epoch, time.monotonic()
        if epoch is None:
            return
        log.error("%s crashed (%s): the queue restarts from queue.storage", actor, error)
        was_up_s, was_read_only = now - self.up_since, self.is_read_only
        refused = refusal(error) if actor == "Persistence" and not was_read_only else None
        self.drop(why_unwritten(error) if actor == "Persistence" else INTERNAL_ERROR)
        if Fenced.__name__ in error:
            self.tell_election(Rest(epoch, 0.0))  # the store works: another server has led
        elif refused is not None:
            self.only_read(epoch, refused)
        elif actor == "Persistence":
            self.rest(epoch, was_up_s)
        elif len(self.reboots) == MAX_REBOOTS and now - self.reboots[0] < REBOOT_WINDOW_S:
            self.give_up(f"crashed {MAX_REBOOTS + 1} times within a minute, last {actor}: {error}")
        else:
            self.reboots.append(now)
            self.tell_election(Rest(epoch, 0.0))

    def rest(self, epoch: int, was_up_s: float = 0.0) -> None:
        if was_up_s > REBOOT_WINDOW_S:
            self.rest_s = FIRST_REST_S
        self.tell_election(Rest(epoch, self.rest_s))
        self.rest_s = min(2 * self.rest_s, LAST_REST_S)

    # --- what PostgreSQL refuses ----------------------------------------------------------------

    def only_read(self, epoch: int, refused: str) -> None:
        """Keep the lead, which nobody else could make more of, but decide nothing."""
        self.epoch = epoch
        self.stand_by(Unavailable(refused, retry_after_s=5))
        self.tell_election(ShowRefusal(refused))

    def can_write(self) -> bool:
        try:
            try_to_write(self.database)
        except PostgresError:
            return False
        return True

    def resume(self) -> None:
        """Lead anew, at once."""
        epoch = self.epoch
        assert epoch is not None, "it leads while it only reads"
        log.warning("PostgreSQL takes what is written again: the queue resumes")
        self.drop("the queue resumes; it may have been done")
        self.tell_election(Rest(epoch, 0.0))

    def tell_election(self, message: Rest | ShowRefusal) -> None:
        assert self.election is not None, "started first"
        tell(self.election, message)

    def shut_down(self, grace_s: float) -> None:
        """Hand over: running tasks get their grace, then another server leads at once."""
        if self.has_ended:
            return
        due = time.monotonic() + grace_s
        if self.election is not None:
            tell(self.election, Retreat())
        if self.epoch is not None:
            super().shut_down(grace_s)
        self.has_ended = True
        with suppress(QueueError):  # what it has not written is made again elsewhere
            self.assigned.retire(max(due - time.monotonic(), 0.0))
        self.switchboard.close()
        if self.election is not None:
            with suppress(QueueError):  # then the others notice when the TTL is over
                ask(self.election, Resign(), RESIGN_S)
        self.assigned.down()


def staff_of(sight: Sight, me: str, silent_s: float) -> dict[str, int]:
    """The servers that may make calls, and how many at once each: none if it has other settings, or
    has been silent for so long. This one makes its own calls, and those that it has begun for
    another leader."""
    slots = {
        each.id: each.slots if each.same_settings and each.lag_s < silent_s else 0
        for each in sight.servers
    }
    return {**slots, me: 0}


def _digest(config: Config) -> bytes:
    """Of all settings that concern tasks: those of the servers of a queue should be the same. Where
    its folder would be, and how many calls it makes, is each server's own."""
    same = replace(
        config,
        server=ServerSettings(),
        fleet=FleetSettings(),
        logging=LoggingSettings(),
        queue=replace(config.queue, storage=None, storage_path="-", max_workers=None),
    )
    return hashlib.sha256(msgspec.msgpack.encode(same)).digest()
