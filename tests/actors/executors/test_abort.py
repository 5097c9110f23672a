"""A call can be ended from another thread at every moment of its life; the server sees it."""

import contextlib
import socket
import threading

import pytest

from ollama_queue.actors.executors.transport import Aborted, ConnectionTransport
from tests.support.fakes.model_server import FakeOllama, Hang, Stream
from tests.support.fakes.raw_http import Script, answer, chat, in_thread, post, send


class TestAbort:
    def test_before_it_is_sent(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        for _ in range(2):  # on a fresh connection, and on a warm one
            transport.begin()
            transport.abort()
            with pytest.raises(Aborted):
                post(transport, chat(fake))
            assert len(fake.calls) == 0 or fake.calls.pop()
            transport.begin()
            assert post(transport, chat(fake))

        assert len(fake.calls) == 1

    def test_while_connecting(
        self, full_port: int, transport: ConnectionTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dialing = threading.Event()

        class Watched(socket.socket):
            def connect(self, address: object) -> None:
                dialing.set()
                super().connect(address)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "socket", Watched)
        call = in_thread(lambda: post(transport, f"http://127.0.0.1:{full_port}/"))
        assert dialing.wait(5)
        transport.abort()

        with pytest.raises(Aborted):
            call.result(10)

    def test_before_headers(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        post(transport, chat(fake))
        fake.script(Hang())  # on the warm connection: it must not be sent again
        call = in_thread(lambda: post(transport, chat(fake)))
        fake.wait_for_calls(2)
        transport.abort()

        with pytest.raises(Aborted):
            call.result(5)
        fake.wait_for_disconnect()
        assert len(fake.calls) == 2

    def test_in_mid_stream(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        fake.script(Stream(then="hang"))
        got_one = threading.Event()

        def read() -> bytes:
            for _ in send(transport, chat(fake)):
                got_one.set()
            return b"whole"

        call = in_thread(read)
        assert got_one.wait(5)
        transport.abort()

        with pytest.raises(Aborted):
            call.result(5)
        fake.wait_for_disconnect()

    def test_of_an_answer_that_ends_with_the_connection(
        self, transport: ConnectionTransport
    ) -> None:
        started = threading.Event()

        def serve(connection: socket.socket) -> None:
            answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")(connection)
            started.set()
            script.until_eof(connection)

        with Script(serve) as script:
            call = in_thread(lambda: post(transport, script.url))
            assert started.wait(5)
            transport.abort()

            with pytest.raises(Aborted):
                call.result(5)
            assert script.saw_eof.wait(5)

    def test_is_forgotten_by_the_next_call(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        post(transport, chat(fake))
        transport.abort()  # too late: the call has ended
        transport.begin()

        assert post(transport, chat(fake))

    def test_at_any_moment(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        for _ in range(200):
            transport.begin()
            call = in_thread(lambda: post(transport, chat(fake)))
            transport.abort()
            with contextlib.suppress(Aborted):
                assert call.result(5).endswith(b"\n")
