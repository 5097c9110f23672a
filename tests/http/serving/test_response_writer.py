"""Pieces of a response that are sent without waiting."""

import gevent
import gevent.socket
import pytest
from gevent.socket import socket as GeventSocket

from ollama_queue.actors.base.cooperation import never_yield
from ollama_queue.http.serving.client_connection import ClientConnection, Deadlines
from ollama_queue.http.serving.response_writer import ResponseWriter

PATIENCE_S = 10.0
FRAME = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"


def pair() -> tuple[ClientConnection, GeventSocket]:
    ours, theirs = gevent.socket.socketpair()
    return ClientConnection(ours, None, Deadlines(never_yield)), theirs


def body_of(client: GeventSocket) -> bytes:
    """All but the head, once our end is closed."""
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("minor", [0, 1])
def test_what_does_not_fit_precedes_what_is_sent_next(minor: int) -> None:
    connection, client = pair()
    writer = ResponseWriter(connection, minor, closes=False, patience_s=PATIENCE_S)
    piece, count = b"x" * 0x1000, 0

    def pieces():  # type: ignore[no-untyped-def]
        nonlocal count
        yield piece
        while writer.send_now(piece):
            count += 1
        yield b""
        assert writer.send_now(b"last but one")
        yield b"last"

    sending = gevent.spawn(writer.send_pieces, 200, (), pieces())
    while not sending.dead and count == 0:
        gevent.sleep(0)
    reading = gevent.spawn(body_of, client)
    sending.get(timeout=PATIENCE_S)
    connection.close()
    body = reading.get(timeout=PATIENCE_S)
    client.close()

    whole = count + 2
    if minor:
        assert body == FRAME * whole + b"c\r\nlast but one\r\n4\r\nlast\r\n0\r\n\r\n"
    else:
        assert body == piece * whole + b"last but onelast"


def test_a_client_that_has_left_is_met_by_the_next_send() -> None:
    connection, client = pair()
    writer = ResponseWriter(connection, 1, closes=False, patience_s=PATIENCE_S)
    writer.send(200, (), b"{}")
    client.close()

    assert not writer.send_now(b"piece")
    with pytest.raises(OSError, match="pipe"):
        writer.send_pieces(200, (), iter([b"next"]))
    connection.close()
