"""Tells servers that follow what happens at the leader."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ...actors.base.actor import ask, tell
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.messages import Subscribe, Unsubscribe
from ...actors.core.model.errors import QueueError
from ...actors.core.model.events import EventRecord
from ...actors.fleet.event_frames import event_frame
from ...actors.fleet.event_relay import EVENTS_PATH, HEARTBEAT_S
from ...actors.fleet.signature import HEADER, Seal
from ...actors.supervision.switchboard import Generation
from ..requests.exchange import Exchange
from .stream_door import StreamOutput

AHEAD = 10_000  # events that another server may be behind
_BYTES = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


class LeadingServer(Protocol):
    seal: Seal

    @property
    def is_leading(self) -> bool: ...

    def current(self) -> Generation: ...


class FeedDoor:
    """Answers servers of the same queue only: they sign their requests."""

    def __init__(self, server: LeadingServer) -> None:
        self._server = server

    def answer(
        self,
        exchange: Exchange,
        target: str,
        output: StreamOutput,
        speak_for_many: Callable[[], None],
    ) -> bool:
        """False if the request is not for this door. `speak_for_many` is told of a server that
        asks."""
        if target != EVENTS_PATH:
            return False
        signed = exchange.headers.get(HEADER.lower(), "")
        if self._server.seal.vouched(signed, exchange.method, target) is None:
            output.send(403, (), b"")
            return True
        speak_for_many()
        if self._server.is_leading:
            output.send_pieces(200, _BYTES, _events(self._server))
        else:
            output.send(503, _BYTES, b"")
        return True


def _events(server: LeadingServer) -> Iterator[bytes]:
    """All events from now on, where calls are made, and heartbeats, while this server leads."""
    mailbox = Mailbox[Any](AHEAD)
    try:
        bus = server.current().bus
        ask(bus, Subscribe(mailbox, calls=True))
    except QueueError:
        return  # the other server comes back, to whoever leads then
    seq = mailbox.since
    try:
        while True:
            try:
                items = [mailbox.get(HEARTBEAT_S), *mailbox.drain()]
            except TimeoutError:
                items = []
            yield event_frame(seq, items)
            seq = max((item.seq for item in items if isinstance(item, EventRecord)), default=seq)
    except Closed:
        return
    finally:
        tell(bus, Unsubscribe(mailbox))
