"""The stream of a call on its way to another server: whole and in order, however slow that is."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import count, cycle
from queue import SimpleQueue
from threading import Thread

import pytest

from ollama_queue.actors.base import mailbox
from ollama_queue.actors.base.actor import Ref, start, stop, tell
from ollama_queue.actors.base.stream_log import StreamLog
from ollama_queue.actors.core.messages import StreamEnded, StreamGrew
from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.tasks import AttemptBegun, Piece
from ollama_queue.actors.event_bus import EventBus
from ollama_queue.actors.fleet.stream_frames import frames
from ollama_queue.actors.fleet.stream_relay import PATH
from ollama_queue.actors.supervision.switchboard import Generation
from ollama_queue.http.forwarding.stream_door import StreamDoor
from ollama_queue.http.requests.exchange import Exchange

BEGUN = AttemptBegun(1, "gpu1", 0.0)
PATIENCE_S = 20.0


class CallingServer:
    def __init__(self, bus: Ref) -> None:
        self.assigned_bus: Ref | None = bus

    def current(self) -> Generation:
        raise Unavailable("it follows")


class Output:
    """A connection that takes a piece at once as often as `takes` says, as `ResponseWriter`."""

    def __init__(self, takes: Iterator[bool]) -> None:
        self.takes = takes
        self.sent: list[bytes] = []
        self.unsent = b""
        self.at_once = 0
        self.news: SimpleQueue[None] = SimpleQueue()

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        raise AssertionError(f"refused: {status}")

    def send_pieces(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None:
        assert status == 200
        for piece in pieces:
            self.sent.append(self.unsent + piece)
            self.unsent = b""
            self.news.put(None)

    def send_now(self, piece: bytes) -> bool:
        self.at_once += 1
        if next(self.takes):
            self.sent.append(piece)
            self.news.put(None)
            return True
        self.sent.append(piece[:7])
        self.unsent = piece[7:]
        return False


@pytest.fixture
def bus() -> Iterator[Ref]:
    bus = start(EventBus, print)
    yield bus
    stop(bus, 1.0)


@pytest.mark.parametrize(
    "takes",
    [lambda: cycle([True]), lambda: cycle([False]), lambda: cycle([True, False, False])],
    ids=["all", "none", "some"],
)
def test_another_server_gets_all_pieces_in_order(
    takes: Callable[[], Iterator[bool]], bus: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "ALONE_S", 0.0)  # each piece may be written at once
    output, log = Output(takes()), StreamLog(BEGUN)
    target = f"{PATH}task/1"
    exchange = Exchange("GET", target, "", {}, BytesIO())
    exchange.send_now = output.send_now
    door = StreamDoor(CallingServer(bus))
    tell(bus, StreamGrew("task", log))
    answering = Thread(target=lambda: door.answer(exchange, target, output))

    answering.start()
    output.news.get(timeout=PATIENCE_S)  # the head has gone with what there was
    for number in count():
        log.append(b'{"n":%d}' % number)
        output.news.get(timeout=PATIENCE_S)
        if output.at_once >= 10:
            break
    tell(bus, StreamEnded("task", 1))
    answering.join(PATIENCE_S)

    pieces = [Piece(1, n, b'{"n":%d}' % n) for n in range(number + 1)]
    assert [*frames("task", output.sent)] == [BEGUN, *pieces, StreamEnded("task", 1)]
