"""The actors with which a server answers reads while another one leads."""

from collections.abc import Callable
from functools import partial

from ..base.actor import Ref, start, stop, tell
from ..base.relayed_streams import OpenRelay
from ..core.messages import CloseSubscriptions
from ..core.messages.leader_proxy import LeaderChanged
from ..event_bus import EventBus
from ..fleet.event_relay import EventRelay
from ..fleet.leader_proxy import LeaderProxy
from ..fleet.reader import Reader
from ..store.postgres.store import PostgresStore
from .generation import Runtime
from .switchboard import Readable, Switchboard

CLOSE_S = 6.0


class Following:
    """A Reader of what is stored, an EventBus that has the leader's events while somebody here
    waits for some, and a LeaderProxy, which asks the leader for the rest."""

    def __init__(
        self,
        database: str,
        runtime: Runtime,
        switchboard: Switchboard,
        make_relays: Callable[[Ref], OpenRelay],
    ) -> None:
        self.database, self.runtime, self.switchboard = database, runtime, switchboard
        self.make_relays = make_relays
        self.actors: list[Ref] = []
        self.relay: EventRelay | None = None
        self.unwatch: Callable[[], None] = lambda: None

    def begin(self, report: Callable[[str], None]) -> None:
        """Raises `QueueError` if the actors cannot start. `report` is called if one crashes."""
        yield_control, switchboard = self.runtime.yield_control, self.switchboard
        bus = start(
            EventBus,
            report,
            yield_control=yield_control,
            make_relays=self.make_relays,
            follows=True,
        )
        self.actors.append(bus)
        reader = start(
            Reader,
            report,
            yield_control=yield_control,
            open_store=lambda: PostgresStore(self.database),
        )
        self.actors.append(reader)
        leader = start(
            LeaderProxy,
            report,
            yield_control=yield_control,
            where=switchboard.leader_address,
            tell_here=switchboard.tell_here,
        )
        self.actors.append(leader)
        self.relay = EventRelay(bus, switchboard.leader_address)
        self.did_lead, self.leader = switchboard.is_leading, switchboard.leader
        self.unwatch = switchboard.watch(partial(self.look, self.relay, bus, leader))
        switchboard.read_from(Readable(reader, reader, bus, self.relay, leader))

    def look(self, relay: EventRelay, bus: Ref, proxy: Ref) -> None:
        """Send whoever reads here to the next leader, or to the actors of a lead that begins."""
        relay.look()
        if self.switchboard.leader != self.leader:
            self.leader = self.switchboard.leader
            tell(proxy, LeaderChanged())
        did_lead, self.did_lead = self.did_lead, self.switchboard.is_leading
        if self.did_lead and not did_lead:
            tell(bus, CloseSubscriptions("restarted", stays=True))

    def down(self) -> None:
        self.switchboard.read_from(None)
        self.unwatch()
        self.unwatch = lambda: None
        if self.relay is not None:
            self.relay.close()
        for actor in self.actors:
            stop(actor, CLOSE_S)
        self.actors, self.relay = [], None
