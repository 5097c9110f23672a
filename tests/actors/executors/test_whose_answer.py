"""No call gets bytes of another's answer, whatever a model server sends and when it sends it.

The answer to request n has a body of nothing but bytes 128 + n, which appear nowhere else.
"""

import socket
import threading
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ollama_queue.actors.executors.http_response import MAX_INTERIM
from ollama_queue.actors.executors.transport import ConnectionTransport
from tests.support.fakes.raw_http import Script, answer, post, send
from tests.support.fakes.scripted_http import Player, Turn

OK = b"HTTP/1.1 200 OK\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
INTERIM = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n", EARLY_HINTS)


def whole(body: bytes, *headers: bytes) -> bytes:
    head = b"".join(header + b"\r\n" for header in headers)
    return OK + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(pieces: Sequence[bytes], *, trailer: bytes = b"", wrong: int = 0) -> bytes:
    """With `wrong`, the last chunk says that it is longer or shorter than it is."""
    sizes = [len(piece) for piece in pieces]
    if sizes:
        sizes[-1] = max(0, sizes[-1] + wrong)
    chunks = [b"%x\r\n%s\r\n" % each for each in zip(sizes, pieces, strict=True)]
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n" + trailer


@some.composite
def legal(draw: some.DrawFn, n: int, *, has_end: bool = False) -> Turn:
    """What HTTP allows a server to answer; `has_end`: not only that of the connection."""
    pieces = [
        bytes([128 + n]) * size for size in draw(some.lists(some.integers(1, 40), max_size=4))
    ]
    body = b"".join(pieces)
    interim = b"".join(draw(some.lists(some.sampled_from(INTERIM), max_size=MAX_INTERIM)))
    answers = {
        "length": whole(body),
        "chunks": chunked(pieces, trailer=draw(some.sampled_from([b"\r\n", b"a: b\r\n\r\n"]))),
        "older": whole(body).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "last": whole(body, b"Connection: close"),
        "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
        "to the end": OK + b"\r\n" + body,
    }
    framing = draw(some.sampled_from(list(answers)[: -1 if has_end else None]))
    return Turn(
        interim + answers[framing],
        b"" if framing == "empty" else body,
        early=draw(some.booleans()),
        closes=framing == "to the end" or draw(some.booleans()),
    )


@some.composite
def pushing(draw: some.DrawFn, n: int) -> Turn:
    """A legal answer, and then something that nobody asked for."""
    turn, other = draw(legal(n, has_end=True)), draw(legal(n))
    pushed = draw(some.sampled_from([TIMED_OUT, EARLY_HINTS, b"\r\n", b"\0", other.answer]))
    if draw(some.booleans()):
        return Turn(turn.answer + pushed, turn.body, closes=turn.closes)
    return Turn(turn.answer, turn.body, pushed=pushed, closes=turn.closes)


@some.composite
def illegal(draw: some.DrawFn, n: int) -> Turn:
    """An answer that is broken; the call may fail."""
    body = bytes([128 + n]) * draw(some.integers(1, 40))
    length = b"Content-Length: %d"
    answers = {
        "short": OK + length % (len(body) + draw(some.integers(1, 99))) + b"\r\n\r\n" + body,
        "long": OK + length % draw(some.integers(0, len(body) - 1)) + b"\r\n\r\n" + body,
        "two lengths": whole(body, length % draw(some.integers(0, 99))),
        "no number": whole(body).replace(b"Length: ", b"Length: +"),
        "both": chunked([body], trailer=b"\r\n").replace(OK, OK + length % 3 + b"\r\n"),
        "wrong chunk": chunked([body, body], trailer=b"\r\n", wrong=draw(some.integers(-9, 9))),
        "no trailer's end": chunked([body]),
        "other coding": whole(body, b"Transfer-Encoding: gzip, chunked"),
        "interim": EARLY_HINTS * (MAX_INTERIM + 1) + whole(body),
        "other protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + whole(body),
        "no header": whole(body, b"no header"),
        "interim with a body": whole(body).replace(b"200 OK", b"103 Early Hints") + whole(body),
        "408": TIMED_OUT,
    }
    answer = answers[draw(some.sampled_from(list(answers)))]
    cut = draw(some.none() | some.integers(0, len(answer)))
    return Turn(answer[:cut], None, early=draw(some.booleans()), closes=True)


def turns() -> some.SearchStrategy[dict[int, Turn]]:
    def played(n: int) -> some.SearchStrategy[Turn]:
        return legal(n) | pushing(n) | illegal(n)

    return some.integers(2, 6).flatmap(
        lambda count: some.fixed_dictionaries({n: played(n) for n in range(count)})
    )


def ask(transport: ConnectionTransport, player: Player, n: int) -> bytes | None:
    """The body of the answer, None if it is none."""
    try:
        response = send(transport, f"{player.url}/{n}")
        try:
            body = b"".join(response)
        finally:
            response.close()
    except httpx.TransportError:
        return None
    finally:
        player.wait_until_played()
    return body if response.is_success else None


class TestInterimAnswers:
    @pytest.mark.parametrize("interim", INTERIM)
    def test_are_passed_over(self, transport: ConnectionTransport, interim: bytes) -> None:
        with Player({n: Turn(interim * MAX_INTERIM + whole(b"%d" % n), b"") for n in (1, 2)}) as it:
            assert [ask(transport, it, n) for n in (1, 2)] == [b"1", b"2"]
            assert it.connections == 1

    def test_have_a_limit(self, transport: ConnectionTransport) -> None:
        with (
            Script(answer(EARLY_HINTS * 17 + OK)) as script,
            pytest.raises(httpx.RemoteProtocolError, match="more than 16 interim answers"),
        ):
            post(transport, script.url)

    def test_cannot_change_the_protocol(self, transport: ConnectionTransport) -> None:
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"
        with Script(answer(upgrade), answer(whole(b"ok"))) as script:
            with pytest.raises(httpx.RemoteProtocolError, match="switched to another protocol"):
                post(transport, script.url)
            assert post(transport, script.url) == b"ok"

    def test_do_not_break_the_silence(self) -> None:
        """Nor does a head that never ends."""
        gone = threading.Event()

        def serve(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(EARLY_HINTS + b"HTTP/1.1 200 ")
            while not gone.wait(0.02):
                connection.sendall(b"a")

        transport = ConnectionTransport(silence_s=0.2)
        with Script(serve) as script, pytest.raises(httpx.ReadTimeout):
            post(transport, script.url)
        gone.set()


class TestAnIdleConnection:
    @pytest.mark.parametrize("pushed", [TIMED_OUT, whole(b"1"), EARLY_HINTS, b"\r\n"])
    def test_is_dropped_when_something_has_come(
        self, transport: ConnectionTransport, pushed: bytes
    ) -> None:
        turns = {1: Turn(whole(b"1"), b"", pushed=pushed), 2: Turn(whole(b"2"), b"")}
        with Player(turns) as player:
            assert [ask(transport, player, n) for n in (1, 2)] == [b"1", b"2"]
            assert player.connections == 2

    def test_that_a_408_meets_half_way_costs_no_retry(self, transport: ConnectionTransport) -> None:
        def serve(connection: socket.socket) -> None:
            answer(whole(b"one"))(connection)
            answer(TIMED_OUT)(connection)

        with Script(serve, answer(whole(b"two")), answer(TIMED_OUT)) as script:
            assert post(transport, script.url) == b"one"
            assert post(transport, script.url) == b"two"
            transport.drop()
            response = send(transport, script.url)
            response.close()
            assert response.status == 408  # on a fresh connection, it is an answer


@settings(max_examples=150)
@given(turns())
def test_each_call_gets_its_own(turns: dict[int, Turn]) -> None:
    transport = ConnectionTransport(silence_s=10)
    with Player(turns) as player:
        for n, turn in turns.items():
            body = ask(transport, player, n)

            assert {byte for byte in body or b"" if byte >= 128} <= {128 + n}
            if turn.body is not None:
                assert body == turn.body
    transport.close()
