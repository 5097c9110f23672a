"""Sends the streams of calls that this server makes for another one, to that one."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ...actors.base.actor import Ref, ask, tell
from ...actors.base.mailbox import Closed, Mailbox
from ...actors.core.messages import Follow, StreamEnded, Unsubscribe
from ...actors.core.model.errors import QueueError
from ...actors.core.model.tasks import Piece
from ...actors.embedded.watch import AT_ONCE_BYTES
from ...actors.fleet import signature
from ...actors.fleet.stream_frames import HEARTBEAT, frame
from ...actors.fleet.stream_relay import HEARTBEAT_S, PATH
from ..requests.exchange import Exchange

_UNSENT = object()
_HEADERS = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


class CallingServer(Protocol):
    """A server that makes calls for others: `assigned_bus` has what they stream."""

    secret: bytes
    assigned_bus: Ref | None


class StreamOutput(Protocol):
    """Where an answer to another server goes."""

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None: ...

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None: ...


class StreamDoor:
    """Answers servers of the same queue only: they sign their requests."""

    def __init__(self, server: CallingServer) -> None:
        self._server = server

    def answer(
        self,
        exchange: Exchange,
        target: str,
        output: StreamOutput,
        speak_for_many: Callable[[], None],
    ) -> bool:
        """False if the request is not for this door. `speak_for_many` is told of a server that
        asks: it has a connection for each stream."""
        if not target.startswith(PATH):
            return False
        signed = exchange.headers.get(signature.HEADER.lower(), "")
        bus, secret = self._server.assigned_bus, self._server.secret
        if signature.vouched(secret, signed, exchange.method, target) is None or bus is None:
            output.send(403, (), b"")
        else:
            speak_for_many()
            task_id, _, attempt = target.removeprefix(PATH).partition("/")
            frames = _stream(bus, task_id, int(attempt), exchange.send_now)
            output.send_pieces(200, _HEADERS, frames)
        return True


def _stream(
    bus: Ref, task_id: str, attempt: int, send_now: Callable[[bytes], bool] | None
) -> Iterator[bytes]:
    """The pieces of a task, and heartbeats, until this attempt has ended."""
    mailbox = Mailbox[Any](size=100_000)

    def write_at_once(item: Any) -> Any:
        """Write a piece in the thread of its call; returns what the reader must know."""
        if send_now is None or not isinstance(item, Piece) or len(item.raw) > AT_ONCE_BYTES:
            return item
        return None if send_now(frame(item)) else _UNSENT

    handle = None  # before the head there is nothing to go on with
    try:
        ask(bus, Follow(mailbox, task_id, frozenset()))
        while True:
            try:
                items = [item for item in mailbox.take(HEARTBEAT_S, handle) if item is not _UNSENT]
            except TimeoutError:
                yield HEARTBEAT
                continue
            yield b"".join(map(frame, items))  # if empty, what could not be sent is sent now
            if items and isinstance(items[-1], StreamEnded) and items[-1].attempt >= attempt:
                return
            handle = write_at_once
    except (Closed, QueueError):
        return  # without the last frame: the other server sees that something is missing
    finally:
        tell(bus, Unsubscribe(mailbox))
