"""Gives callers outside the actors access to the current generation."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ..base.actor import Ref, ask, ask_into, tell
from ..base.inbox import check_process
from ..core.fleet.refusals import trouble
from ..core.fleet.servers import FleetServer, Leader, Sight
from ..core.messages.command import Command, Reply
from ..core.messages.leader_proxy import ANSWERED_BY
from ..core.model.errors import OutcomeUnknown, QueueError, Unavailable
from ..core.model.orders import LEADER
from ..fleet.event_relay import EventRelay
from ..fleet.signature import Seal

JOIN_S = 1.0  # between two looks whether another server still leads
RETRY_S = 0.1  # before what failed at once is tried again


def _nothing() -> None:
    """Leave what needs no leaving."""


class Generation(Struct, frozen=True):
    """The actors of one boot that callers outside talk to."""

    scheduler: Ref
    persistence: Ref
    bus: Ref
    ticker: Ref
    prober: Ref
    batches: Ref
    webhooks: Ref

    def recipient(self, command: Command[Any]) -> Ref:
        """Which actor answers a command that another server may send."""
        actor: Ref = getattr(self, ANSWERED_BY[type(command)])
        return actor


class Readable(Struct, frozen=True):
    """What answers reads where no generation runs, named as in one, and `leader`, which has the
    leader's actors answer."""

    persistence: Ref
    ticker: Ref
    bus: Ref
    relay: EventRelay
    leader: Ref


class LedElsewhere(Unavailable):
    """Another server leads: this one does nothing itself."""


def _where(leader: Leader) -> str:
    if leader.url is None:
        return "another program leads this queue, and has no address to be reached at"
    return f"another server leads this queue: ask {leader.url}"


class Switchboard:
    """Looked up for each call; callers never keep a ref, as a reboot replaces all actors."""

    def __init__(self) -> None:
        self._now: Generation | QueueError = Unavailable("the queue is not started")
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self.boots = 0  # generations that were connected
        self.is_closed = False  # for good
        self.sight: Sight | None = None  # of the other servers; None while there are none
        self.trouble = ""  # with what the servers share, in the words of a sentence
        self.seal = Seal()  # of the servers
        self.assigned_bus: Ref | None = None  # of the calls that this server makes for others
        self._readable: Readable | None = None
        self._seen_until = 0.0  # how long what was seen holds, by the steady clock
        self._watchers: list[Callable[[], None]] = []

    def connect(self, generation: Generation) -> None:
        self.boots, self.trouble = self.boots + 1, ""
        self._set(generation)

    def disconnect(self, error: QueueError) -> None:
        """Make `current` raise `error` until the next `connect`."""
        self._set(error)

    def close(self) -> None:
        """As `disconnect`, for good: the queue is stopped."""
        self.is_closed = True
        self._set(Unavailable("the queue is stopped"))

    def _set(self, now: Generation | QueueError) -> None:
        with self._changed:
            self._now = now
            self._changed.notify_all()
        self._tell()

    # --- several servers ------------------------------------------------------------------------

    def see(self, sight: Sight, holds_s: float) -> None:
        """Note who leads, and who is there, as of now. It holds for so many seconds."""
        with self._changed:
            self.sight = sight
            self.seal.set_time(sight.at)
            self._seen_until = time.monotonic() + holds_s
            leader = sight.leader
            if leader and not (leader.is_here or self.is_closed or self.is_leading):
                self.trouble = ""
                self._now = LedElsewhere(_where(leader), retry_after_s=1)
            self._changed.notify_all()
        self._tell()

    def miss(self, error: str) -> None:
        """Note that a beat or the start of a lead has failed, until a lead begins. The error may
        name what is nobody's business."""
        self.trouble = trouble(error)

    def nobody_leads(self) -> Unavailable:
        """What to answer when no server leads."""
        why = f": {self.trouble}" if self.trouble else ""
        return Unavailable(f"no server leads the queue at the moment{why}", retry_after_s=1)

    @property
    def is_leading(self) -> bool:
        return isinstance(self._now, Generation)

    @property
    def is_starting(self) -> bool:
        """Whether this server was elected, and its actors are starting."""
        leader = None if self.sight is None else self.sight.leader
        return leader is not None and leader.is_here and not (self.is_leading or self.is_closed)

    @property
    def leader(self) -> Leader | None:
        """The other server that leads, as of the last look; None: this one, or nobody."""
        leader = None if self.sight is None else self.sight.leader
        return None if leader is None or leader.is_here else leader

    def where(self, server: str) -> tuple[str | None, Seal]:
        """The address of a server, or of `LEADER`, None if it has none or is gone, and the servers'
        seal."""
        if server == LEADER:
            return self.leader_address()
        servers = [] if self.sight is None else self.sight.servers
        return next((each.url for each in servers if each.id == server), None), self.seal

    def leader_address(self) -> tuple[str | None, Seal]:
        """The address of the other server that leads, None if none does, or this server has not
        seen the database of late, and the seal."""
        leader = self.leader if time.monotonic() < self._seen_until else None
        return None if leader is None else leader.url, self.seal

    def read_from(self, readable: Readable | None) -> None:
        """Have these answer reads while this server does not lead; None: nobody."""
        self._readable = readable

    @property
    def may_read(self) -> bool:
        """Whether this server answers reads although it does not lead: it has seen of late which
        API keys there are, and its settings are those of the leader."""
        sight = self.sight
        return (
            self._readable is not None
            and sight is not None
            and sight.is_alike
            and time.monotonic() < self._seen_until
            and not (self.is_leading or self.is_closed)
        )

    def servers(self) -> list[FleetServer]:
        """All servers of late, the one that leads first."""
        sight = self.sight
        if sight is None or self.is_closed:
            self.current()
        assert sight is not None, "who is up has seen the others"
        return sight.servers

    def check_leader(self) -> None:
        """Raise `Unavailable` if this server has not seen of late that one leads, which changes
        what it is asked to, and which this one can reach."""
        if self.is_leading:
            return
        leader, sight = self.leader, self.sight
        if leader is None or leader.url is None or time.monotonic() >= self._seen_until:
            raise self.nobody_leads()
        for server in () if sight is None else sight.servers:
            if server.leads and server.read_only is not None:
                raise Unavailable(f"not ready: {server.read_only}", retry_after_s=1)

    def await_role(self, timeout: float) -> None:
        """Wait until this server leads, or another one does."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_leading or isinstance(self._now, LedElsewhere), timeout
            )

    def await_change(self, is_settled: Callable[[], bool], timeout: float) -> bool:
        """Wait until `is_settled`, which is asked after each change; False after `timeout`."""
        with self._changed:
            return self._changed.wait_for(is_settled, timeout)

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher`, which must not block, after each change. Returns what ends this."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _tell(self) -> None:
        for watcher in tuple(self._watchers):
            watcher()

    # --- looking up -----------------------------------------------------------------------------

    def current(self) -> Generation:
        check_process(self._pid)
        now = self._now
        if isinstance(now, QueueError):
            raise now.again()
        return now

    def readable(self) -> Generation | Readable:
        """What answers reads: the generation, or while there is none a reader of its store."""
        readable = self._readable
        if readable is not None and self.may_read:
            check_process(self._pid)
            return readable
        return self.current()

    def ask_leader(self, command: Command[Reply], timeout: float = 30.0) -> Reply:
        """Have the actor that answers `command` do so, here or at the server that leads."""
        now = self.readable()
        answering = now.leader if isinstance(now, Readable) else now.recipient(command)
        return ask(answering, command, timeout)

    def tell_leader(self, command: Command[Any]) -> None:
        """Have that actor carry out `command`, also if the server that leads, or the next one, is
        reached only later. Nobody hears how it ended."""
        readable = self._readable
        if not self.tell_here(command) and readable is not None:
            tell(readable.leader, command)

    def tell_here(self, command: Command[Any]) -> bool:
        """As `tell_leader`, of this server's own actors; False if it does not lead."""
        now = self._now
        if not isinstance(now, Generation):
            return False
        ask_into(now.recipient(command), command, lambda _: None)
        return True

    def hear(
        self, old: Generation | Readable | None, patience_s: float, *, calls: bool = False
    ) -> tuple[Generation | Readable, Callable[[], None]]:
        """What publishes events, and with `calls` the pieces of replies, and has stored what events
        tell of; not the generation `old`. It may be left by calling what comes with it. Waits for
        the end of a reboot, or for another leader. Raises `Unavailable`."""
        check_process(self._pid)
        due = time.monotonic() + patience_s
        was = old if isinstance(old, Generation) else None
        while True:
            left = max(0.0, due - time.monotonic())
            self.await_change(lambda: self.may_read or self._is_after(was), left)
            readable = self._readable
            if readable is None or not self.may_read:
                return self.current(), _nothing
            left = due - time.monotonic()
            try:
                return readable, readable.relay.join(min(left, JOIN_S), calls=calls)
            except Unavailable:
                if left <= JOIN_S:
                    raise
                self.await_change(lambda: not self.may_read, RETRY_S)

    def after(self, old: Generation | None, timeout: float) -> Generation:
        """Wait for the generation after `old`, for readers that wait for the end of a reboot."""
        check_process(self._pid)
        self.await_change(lambda: self._is_after(old), timeout)
        return self.current()

    def _is_after(self, old: Generation | None) -> bool:
        return self._now is not old and not isinstance(self._now, OutcomeUnknown)
