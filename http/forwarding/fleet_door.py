"""Answers the servers of the same queue, and nobody else: they sign their requests."""

from collections.abc import Callable
from typing import Protocol

from ...actors.fleet.asks import ASK_PATH
from ...actors.fleet.event_relay import EVENTS_PATH
from ...actors.fleet.signature import HEADER, Seal
from ...actors.fleet.stream_relay import LEADER_PATH, PATH
from ..requests.exchange import Exchange
from .ask_door import AskDoor, LeadingQueue
from .feed_door import FeedDoor, LeadingServer
from .stream_door import CallingServer, StreamDoor, StreamOutput


class InnerDoor(Protocol):
    """Answers one kind of request, whose signature has been checked."""

    def answer(self, exchange: Exchange, target: str, output: StreamOutput) -> None: ...


class SharingServer(CallingServer, LeadingServer, Protocol):
    """One server of several: what it has for the others, while it leads and while it does not."""

    seal: Seal


class FleetDoor:
    """Finds the door for what another server asks, once its signature has been checked."""

    def __init__(self, server: SharingServer, queue: LeadingQueue) -> None:
        self._server = server
        streams = StreamDoor(server)
        self._doors: dict[str, InnerDoor] = {
            PATH: streams,
            LEADER_PATH: streams,
            EVENTS_PATH: FeedDoor(server),
            ASK_PATH: AskDoor(server, queue),
        }
        self._paths = tuple(self._doors)

    def answer(
        self,
        exchange: Exchange,
        target: str,
        output: StreamOutput,
        speak_for_many: Callable[[], None],
    ) -> bool:
        """False if the request is not for this door. `speak_for_many` is told of a server that
        asks."""
        if not target.startswith(self._paths):
            return False
        signed = exchange.headers.get(HEADER.lower(), "")
        if self._server.seal.vouched(signed, exchange.method, target) is None:
            output.send(403, (), b"")
            return True
        speak_for_many()
        door = next(door for path, door in self._doors.items() if target.startswith(path))
        door.answer(exchange, target, output)
        return True
