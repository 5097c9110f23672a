"""How greenlets wait for model servers, with real sockets."""

import gevent
import pytest
from gevent.socket import socket as GeventSocket
from gevent.socket import socketpair

from ollama_queue.actors.base.receiver import PlainReceiver
from ollama_queue.http.serving import receiving
from ollama_queue.http.serving.receiving import Receivers

PATIENCE_S = 10.0


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


def test_all_that_rest_wake_up_together(ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "TOGETHER", 3)
    receivers = Receivers()
    woken: list[int] = []

    def rest(number: int) -> None:
        for _ in range(2):
            receivers.rest()
            woken.append(number)

    gevent.joinall([gevent.spawn(rest, number) for number in range(10)], timeout=PATIENCE_S)

    assert woken == [*range(10), *range(10)]


def test_tls_is_read_plainly(monkeypatch: pytest.MonkeyPatch, ends) -> None:
    ours, _ = ends
    monkeypatch.setattr(receiving.ssl, "SSLSocket", GeventSocket)

    assert isinstance(Receivers()(ours), PlainReceiver)
