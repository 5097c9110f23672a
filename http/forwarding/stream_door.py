"""Sends the streams of calls that this server makes to others, whose clients read them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ...actors.base.actor import Ref, ask, tell
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.messages import Follow, GetTask, StreamEnded, Unsubscribe
from ...actors.core.model.errors import QueueError
from ...actors.core.model.event_names import EVENTS
from ...actors.core.model.events import EventRecord
from ...actors.core.model.tasks import AttemptBegun, Piece, Record, Status
from ...actors.embedded.watch import AT_ONCE_BYTES
from ...actors.fleet.stream_frames import HEARTBEAT, Framed, frame
from ...actors.fleet.stream_relay import HEARTBEAT_S, LEADER_PATH
from ...actors.supervision.switchboard import Generation
from ..requests.exchange import Exchange

SendNow = Callable[[bytes], bool]
_UNSENT = object()
_HEADERS = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


class CallingServer(Protocol):
    """A server that makes calls for others: `assigned_bus` has what they stream; and while it
    leads, its own."""

    assigned_bus: Ref | None

    def current(self) -> Generation: ...


class StreamOutput(Protocol):
    """Where an answer to another server goes."""

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None: ...

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None: ...


class StreamDoor:
    def __init__(self, server: CallingServer) -> None:
        self._server = server

    def answer(self, exchange: Exchange, target: str, output: StreamOutput) -> None:
        frames = self._frames(target, exchange.send_now)
        if frames is None:
            output.send(403, (), b"")
        else:
            output.send_pieces(200, _HEADERS, frames)

    def _frames(self, target: str, send_now: SendNow | None) -> Iterator[bytes] | None:
        """The stream that was asked for; None if this server does not make such calls."""
        *_, task_id, attempt = target.split("/")
        if not target.startswith(LEADER_PATH):
            bus = self._server.assigned_bus
            return None if bus is None else _stream(bus, None, task_id, int(attempt), send_now)
        try:
            now = self._server.current()
        except QueueError:
            return None  # it leads no more
        return _stream(now.bus, now.persistence, task_id, int(attempt), send_now)


def _stream(
    bus: Ref, persistence: Ref | None, task_id: str, attempt: int, send_now: SendNow | None
) -> Iterator[bytes]:
    """The pieces of a task, and heartbeats, until this attempt has ended.

    The bus of assigned calls says when one has ended; of the leader's own calls, whose tasks
    `persistence` has, events do. If the pieces of such a call are not here it has been that of an
    earlier leader: then its end is not said.
    """
    mailbox = Mailbox[Any](size=100_000)
    has_begun = persistence is None

    def write_at_once(item: Any) -> Any:
        """Write a piece in the thread of its call; returns what the reader must know."""
        if send_now is None or not isinstance(item, Piece) or len(item.raw) > AT_ONCE_BYTES:
            return item
        return None if send_now(frame(item)) else _UNSENT

    handle = None  # before the head there is nothing to go on with
    try:
        ask(bus, Follow(mailbox, task_id, EVENTS))
        is_over = persistence is not None and _has_ended(
            ask(persistence, GetTask(task_id)).record, attempt
        )
        if is_over:
            ask(bus, Unsubscribe(mailbox))  # answered after any log on its way
        while True:
            try:
                items = mailbox.drain() if is_over else mailbox.take(HEARTBEAT_S, handle)
            except TimeoutError:
                yield HEARTBEAT
                continue
            framed = [*_framed(items)]
            has_begun = has_begun or any(_is_begin(item, attempt) for item in framed)
            is_over = is_over or any(_is_end(item, attempt) for item in items)
            if is_over and has_begun:
                framed.append(StreamEnded(task_id, attempt))
            yield b"".join(map(frame, framed))  # if empty, what could not be sent is sent now
            if is_over:
                return
            handle = write_at_once
    except (Closed, QueueError):
        return  # without the last frame: the other server sees that something is missing
    finally:
        tell(bus, Unsubscribe(mailbox))


def _has_ended(task: Record, attempt: int) -> bool:
    return task.attempt > attempt or task.status is not Status.RUNNING


def _is_begin(item: Framed, attempt: int) -> bool:
    return isinstance(item, AttemptBegun) and item.attempt == attempt


def _framed(items: Iterable[Any]) -> Iterator[Framed]:
    return (item for item in items if isinstance(item, AttemptBegun | Piece))


def _is_end(item: Any, attempt: int) -> bool:
    """Whether the attempt has ended: events come after all pieces that came before them."""
    if isinstance(item, EventRecord):
        return item.task is not None and _has_ended(item.task, attempt)
    return isinstance(item, StreamEnded) and item.attempt >= attempt
