"""How greenlets wait for model servers, with real sockets."""

import struct
from collections.abc import Callable

import gevent
import pytest
from gevent.socket import SO_LINGER, SOL_SOCKET, create_connection, socketpair
from gevent.socket import socket as GeventSocket

from ollama_queue.actors.base.receiver import PlainReceiver
from ollama_queue.http.serving import receiving
from ollama_queue.http.serving.receiving import Receivers

PATIENCE_S = 10.0
END = b"0\r\n\r\n"


@pytest.fixture
def ends() -> tuple[GeventSocket, GeventSocket]:
    return socketpair()


def test_it_waits_for_what_comes_and_for_the_end(ends) -> None:
    ours, theirs = ends
    receiver = Receivers()(ours)
    got = gevent.spawn(lambda: [receiver.receive(100) for _ in range(3)])
    for said in (b"a", b"b"):
        gevent.sleep(0)
        theirs.sendall(said)
        gevent.sleep(0.01)
    theirs.close()

    assert got.get(timeout=PATIENCE_S) == [b"a", b"b", b""]
    receiver.close()
    ours.close()


def test_what_has_arrived_is_read_without_a_wait(ends) -> None:
    ours, theirs = ends
    receiver = Receivers()(ours)
    theirs.sendall(b"abcde")

    assert [receiver.receive(2) for _ in range(3)] == [b"ab", b"cd", b"e"]
    receiver.close()


def test_a_shutdown_ends_the_wait(ends) -> None:
    ours, _ = ends
    receiver = Receivers()(ours)
    got = gevent.spawn(receiver.receive, 100)
    gevent.sleep(0.01)
    ours.shutdown(2)

    assert got.get(timeout=PATIENCE_S) == b""


def never() -> bool:
    return False


class Gathering:
    """A receiver that rests, and what it has read since."""

    def __init__(self, ours: GeventSocket, is_awaited: Callable[[], bool] = never) -> None:
        self.receiver = Receivers()(ours)
        self._is_awaited, self._call = is_awaited, gevent.spawn(self._read)
        gevent.sleep(0)

    def _read(self) -> bytes:
        self.receiver.rest(END, self._is_awaited)
        return self.receiver.receive(65536)

    @property
    def has_read(self) -> bool:
        return self._call.ready()

    def await_some(self) -> None:
        """Wait until something has gathered."""
        with gevent.Timeout(PATIENCE_S):
            while self.receiver._size == 0:
                gevent.sleep(0.001)

    def end(self) -> None:
        self._call.kill()

    def await_looks(self) -> None:
        """Wait until nothing is looked at any more."""
        with gevent.Timeout(PATIENCE_S):
            while self.receiver._receivers._timer is not None:
                gevent.sleep(0.001)

    def data(self) -> bytes:
        read: bytes = self._call.get(timeout=PATIENCE_S)
        return read


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "GATHER_S", 1000.0)


@pytest.mark.usefixtures("patient")
def test_what_comes_while_a_call_rests_gathers_until_the_end(ends) -> None:
    ours, theirs = ends
    call = Gathering(ours)
    for piece in (b"many ", b"pieces"):
        theirs.sendall(piece)
        call.await_some()
    assert not call.has_read

    theirs.sendall(b"x" + END)

    assert call.data() == b"many piecesx" + END


@pytest.mark.usefixtures("patient")
def test_the_end_is_found_though_it_comes_in_two(ends) -> None:
    ours, theirs = ends
    call = Gathering(ours)
    theirs.sendall(b"a piece" + END[:3])
    call.await_some()
    theirs.sendall(END[3:])

    assert call.data() == b"a piece" + END


@pytest.mark.usefixtures("patient")
def test_the_end_of_the_connection_ends_the_rest(ends) -> None:
    ours, theirs = ends
    call = Gathering(ours)
    theirs.sendall(b"a piece")
    theirs.close()

    assert call.data() == b"a piece"
    assert call.receiver.receive(65536) == b""


@pytest.mark.usefixtures("patient")
def test_nothing_is_read_for_a_call_that_was_ended_while_it_rested(ends) -> None:
    """The number of its connection may be that of another one by then."""
    ours, theirs = ends
    call = Gathering(ours)
    call.end()
    theirs.sendall(b"for another call")
    call.await_looks()

    ours.settimeout(PATIENCE_S)
    assert ours.recv(65536) == b"for another call"


@pytest.mark.usefixtures("patient")
def test_an_error_is_raised_after_what_had_gathered() -> None:
    listener = GeventSocket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    ours = create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    call = Gathering(ours)
    theirs.sendall(b"a piece")
    call.await_some()
    theirs.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()  # with a reset

    assert call.data() == b"a piece"
    with pytest.raises(ConnectionResetError):
        call.receiver.receive(65536)


@pytest.mark.usefixtures("patient")
def test_a_call_goes_on_once_its_next_piece_is_awaited(ends) -> None:
    ours, theirs = ends
    readers: list[str] = []
    call = Gathering(ours, lambda: bool(readers))
    theirs.sendall(b"some pieces")
    call.await_some()
    assert not call.has_read
    readers.append("a client")

    assert call.data() == b"some pieces"


@pytest.mark.usefixtures("patient")
def test_a_call_goes_on_once_much_has_gathered(ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "GATHERED", 10)
    ours, theirs = ends
    call = Gathering(ours)
    theirs.sendall(b"eleven bytes")

    assert call.data() == b"eleven byt"
    assert call.receiver.receive(65536) == b"es"


def test_a_rest_is_short_though_nothing_comes(ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "GATHER_S", 0.0)
    ours, theirs = ends
    receiver = Receivers()(ours)
    gevent.spawn(receiver.rest, END, never).get(timeout=PATIENCE_S)
    theirs.sendall(b"later")

    assert receiver.receive(65536) == b"later"


def test_all_that_rest_wake_up_though_many_do_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "GATHER_S", 0.0)
    monkeypatch.setattr(receiving, "TOGETHER", 3)
    monkeypatch.setattr(receiving, "LOOKS", 4)
    receivers = Receivers()
    pairs = [socketpair() for _ in range(10)]
    woken: list[int] = []

    def rest(number: int) -> None:
        receiver = receivers(pairs[number][0])
        for _ in range(2):
            receiver.rest(END, never)
            woken.append(number)
        receiver.close()

    calls = [gevent.spawn(rest, number) for number in range(10)]
    assert len(gevent.joinall(calls, timeout=PATIENCE_S)) == 10

    assert sorted(woken) == sorted([*range(10), *range(10)])


def test_tls_is_read_plainly(monkeypatch: pytest.MonkeyPatch, ends) -> None:
    ours, _ = ends
    monkeypatch.setattr(receiving.ssl, "SSLSocket", GeventSocket)

    assert isinstance(Receivers()(ours), PlainReceiver)
