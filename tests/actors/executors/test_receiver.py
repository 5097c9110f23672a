"""When a call rests between two reads: while nobody waits for the next piece."""

import socket
from collections.abc import Callable

import pytest

from ollama_queue.actors.base.receiver import PlainReceiver
from ollama_queue.actors.executors import transport
from ollama_queue.actors.executors.transport import LITTLE, ConnectionTransport
from tests.support.fakes.raw_http import Script, send

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Resting(PlainReceiver):
    """Has the model server send its next piece when the call rests, or reads on."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.rests = 0

    def rest(self, end: bytes, is_awaited: Callable[[], bool]) -> None:
        assert end == END
        assert not is_awaited()
        self.rests += 1


def rests(piece: bytes, is_followed: bool) -> int:
    """How often a call rests that reads two pieces, one after the other."""
    frame = b"%x\r\n%b\r\n" % (len(piece), piece)
    made: list[Resting] = []

    def receiver(connection: socket.socket) -> Resting:
        made.append(Resting(connection))
        return made[-1]

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + frame)
        connection.recv(1)  # until the reader has the first piece
        connection.sendall(frame)
        connection.recv(1)
        connection.sendall(END)

    caller = ConnectionTransport(10.0, make_receiver=receiver)
    with Script(serve) as server:
        caller.begin(lambda: is_followed)
        response = send(caller, server.url)
        for _ in response:
            assert caller._socket is not None
            caller._socket.sendall(b"x")
        response.close()
        caller.close()
    return made[0].rests


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "UNFOLLOWED_S", 0.0)


def test_a_call_that_nobody_follows_rests_after_each_piece() -> None:
    assert rests(b"x", is_followed=False) == 2


def test_a_call_that_somebody_follows_never_rests() -> None:
    assert rests(b"x", is_followed=True) == 0


def test_large_pieces_are_read_one_after_another() -> None:
    assert rests(b"x" * LITTLE, is_followed=False) == 0


def test_a_young_call_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "UNFOLLOWED_S", 1000.0)

    assert rests(b"x", is_followed=False) == 0
