"""Tells servers that follow what happens at the leader."""

from collections.abc import Iterator
from typing import Any, Protocol

from ...actors.base.actor import ask, tell
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.messages import Subscribe, Unsubscribe
from ...actors.core.model.errors import QueueError
from ...actors.core.model.events import EventRecord
from ...actors.fleet.event_frames import event_frame
from ...actors.fleet.event_relay import HEARTBEAT_S
from ...actors.supervision.switchboard import Generation
from ..requests.exchange import Exchange
from .stream_door import StreamOutput

AHEAD = 10_000  # events that another server may be behind
_BYTES = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


class LeadingServer(Protocol):
    @property
    def is_leading(self) -> bool: ...

    def current(self) -> Generation: ...


class FeedDoor:
    def __init__(self, server: LeadingServer) -> None:
        self._server = server

    def answer(self, exchange: Exchange, target: str, output: StreamOutput) -> None:
        if self._server.is_leading:
            output.send_pieces(200, _BYTES, _events(self._server))
        else:
            output.send(503, _BYTES, b"")


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
