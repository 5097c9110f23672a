"""Tells servers that follow what only the leader knows: events, and the state of the plan."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from ...actors.base.actor import ask, tell
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.messages import Subscribe, Unsubscribe
from ...actors.core.model.errors import QueueError
from ...actors.core.model.events import EventRecord
from ...actors.core.model.stats import QueueStats, Waiting
from ...actors.fleet import signature
from ...actors.fleet.event_frames import event_frame
from ...actors.fleet.event_relay import EVENTS_PATH, HEARTBEAT_S
from ...actors.fleet.leader_client import EXPLAIN_PATH, STATS_PATH
from ...actors.supervision.switchboard import Generation
from ..requests.exchange import Exchange
from .stream_door import StreamOutput

AHEAD = 10_000  # events that another server may be behind
MOST_BODY = 1 << 20  # bytes
_BYTES = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class LeadingQueue(Protocol):
    """A queue that knows its plan while it leads."""

    def explain_tasks(self, task_ids: tuple[str, ...]) -> dict[str, Waiting]: ...

    def get_tenant_stats(self, tenant: str | None) -> QueueStats: ...


class LeadingServer(Protocol):
    secret: bytes

    @property
    def is_leading(self) -> bool: ...

    def current(self) -> Generation: ...


class FeedDoor:
    """Answers servers of the same queue only: they sign their requests."""

    def __init__(self, server: LeadingServer, queue: LeadingQueue) -> None:
        self._server, self._queue = server, queue

    def answer(
        self,
        exchange: Exchange,
        target: str,
        output: StreamOutput,
        speak_for_many: Callable[[], None],
    ) -> bool:
        """False if the request is not for this door. `speak_for_many` is told of a server that
        asks."""
        if not target.startswith((EVENTS_PATH, EXPLAIN_PATH, STATS_PATH)):
            return False
        signed = exchange.headers.get(signature.HEADER.lower(), "")
        if signature.vouched(self._server.secret, signed, exchange.method, target) is None:
            output.send(403, (), b"")
            return True
        speak_for_many()
        if target == EVENTS_PATH and self._server.is_leading:
            output.send_pieces(200, _BYTES, _events(self._server))
            return True
        body = b"" if exchange.method == "GET" else exchange.stream.read(MOST_BODY)
        try:
            status, answer = (
                (200, self._said(target, body)) if self._server.is_leading else (503, None)
            )
        except QueueError:
            status, answer = 503, None
        output.send(status, _JSON, msgspec.json.encode(answer))
        return True

    def _said(self, target: str, body: bytes) -> dict[str, Waiting] | QueueStats | None:
        if target.startswith(STATS_PATH):
            return self._queue.get_tenant_stats(unquote(target.removeprefix(STATS_PATH)) or None)
        if hashlib.sha256(body).hexdigest() != target.removeprefix(EXPLAIN_PATH):
            return None
        return self._queue.explain_tasks(msgspec.json.decode(body, type=tuple[str, ...]))


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
