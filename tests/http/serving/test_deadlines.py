"""Deadlines of a connection's waits: what is due ends, what is not goes on."""

from collections.abc import Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.socket
import pytest

from ollama_queue.actors.base.cooperation import never_yield
from ollama_queue.http.serving import client_connection, handler
from ollama_queue.http.serving.client_connection import NEVER, ClientConnection, Deadlines

SOON_S = 0.05
PATIENCE_S = 10.0
MUCH = bytes(64 << 20)  # more than the system keeps for a socket


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deadlines]:
    monkeypatch.setattr(client_connection, "LOOK_S", 0.01)
    made = Deadlines(never_yield)
    watcher = gevent.spawn(made.run)
    yield made
    watcher.kill()


@pytest.fixture
def ends(deadlines: Deadlines) -> Iterator[tuple[ClientConnection, Any]]:
    """A connection, and the client's socket."""
    ours, client = gevent.socket.socketpair()
    connection = ClientConnection(ours, None, deadlines)
    client.settimeout(PATIENCE_S)
    yield connection, client
    connection.close()
    client.close()
    assert connection not in deadlines.watched


def test_a_read_that_is_due_ends(ends: tuple[ClientConnection, Any]) -> None:
    connection, client = ends
    with gevent.Timeout(PATIENCE_S), pytest.raises(TimeoutError):
        connection.receive(monotonic() + SOON_S)

    connection.send(b"why", PATIENCE_S)  # the client can still be told
    assert client.recv(10) == b"why"


def test_a_send_that_is_due_ends(ends: tuple[ClientConnection, Any]) -> None:
    connection, _ = ends
    with gevent.Timeout(PATIENCE_S), pytest.raises(OSError):
        connection.send(MUCH, SOON_S)


def test_a_slow_reader_gets_all_of_it(ends: tuple[ClientConnection, Any]) -> None:
    connection, client = ends
    sender = gevent.spawn(connection.send, MUCH, PATIENCE_S)
    left = len(MUCH)
    while left:
        left -= len(client.recv(1 << 20))
        gevent.sleep(0)
    sender.get(timeout=PATIENCE_S)


def test_a_wait_that_is_not_due_goes_on(
    ends: tuple[ClientConnection, Any], deadlines: Deadlines
) -> None:
    connection, client = ends
    other, _kept = gevent.socket.socketpair()
    due = ClientConnection(other, None, deadlines)
    waiting = gevent.spawn(connection.receive, NEVER)
    with gevent.Timeout(PATIENCE_S), pytest.raises(TimeoutError):
        due.receive(monotonic() + SOON_S)
    due.close()

    client.sendall(b"late")
    assert waiting.get(timeout=PATIENCE_S) == b"late"
    assert connection.due == NEVER


def test_a_client_that_never_stops_sending_is_left(
    deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are always there already, so no wait for them is ever due."""
    monkeypatch.setattr(handler, "LINGER_S", SOON_S)
    socket = SimpleNamespace(
        settimeout=lambda seconds: None,
        shutdown=lambda how: None,
        close=lambda: None,
        recv=lambda most: b"x",
        send=len,
    )
    nothing = SimpleNamespace(
        enter=lambda: True, leave=lambda: None, idle=lambda: None, watch=lambda request: None
    )
    server: Any = SimpleNamespace(
        limit=nothing, disconnects=nothing, yield_control=lambda: gevent.sleep(0)
    )
    client = handler.ConnectionHandler(server, ClientConnection(socket, None, deadlines))
    with gevent.Timeout(PATIENCE_S):
        client.run()  # an endless line is refused, and then not read further
