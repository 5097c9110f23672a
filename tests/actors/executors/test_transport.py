"""The transport: which connection it uses, what it sends twice, and what it takes for an error."""

import socket
from concurrent.futures import Future

import httpx
import pytest

from ollama_queue.actors.executors.transport import ConnectionTransport, Target
from tests.support.fakes.model_server import Answer, Cut, FakeOllama, Hang, Stream
from tests.support.fakes.raw_http import OK, Script, answer, chat, post, send


class TestConnection:
    def test_stays_warm_from_request_to_request(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        fake.script(Stream(), Answer(404, b"no"), Answer(204, b""), Stream())

        for _ in range(4):
            post(transport, chat(fake))

        assert fake.connections == 1

    def test_stays_warm_when_only_the_end_mark_was_not_read(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        fake.script(Answer(body=b"abc"))
        response = send(transport, chat(fake))
        assert next(iter(response)) == b"abc"
        response.close()

        post(transport, chat(fake))

        assert fake.connections == 1

    def test_is_dropped_unless_the_answer_was_read(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        fake.script(Stream(then="hang"))
        response = send(transport, chat(fake))
        response.close()

        fake.wait_for_disconnect()
        post(transport, chat(fake))

        assert fake.connections == 2

    def test_is_dropped_when_the_server_says_so(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        fake.script(Answer(body=b"abc", headers={"Connection": "close"}))

        assert post(transport, chat(fake)) == b"abc"
        post(transport, chat(fake))

        assert (fake.connections, len(fake.calls)) == (2, 2)

    def test_is_another_for_another_server(self, transport: ConnectionTransport) -> None:
        with FakeOllama() as one, FakeOllama() as other:
            for server in (one, other, one):
                post(transport, chat(server))

            assert (one.connections, other.connections) == (2, 1)

    def test_reaches_ipv6(self, transport: ConnectionTransport) -> None:
        try:
            script = Script(answer(OK), family=socket.AF_INET6)
        except OSError:
            pytest.skip("no IPv6 here")
        with script:
            assert post(transport, script.url) == b"ok"

    def test_sends_headers_and_body_as_they_are(self, transport: ConnectionTransport) -> None:
        got: Future[bytes] = Future()

        def serve(connection: socket.socket) -> None:
            got.set_result(connection.recv(65536))
            connection.sendall(OK)

        with Script(serve) as script:
            url = httpx.URL(f"{script.url}a%20b?c=d")
            headers = httpx.Headers({"host": "h", "x-a": "1"})
            transport.send(Target("POST", url, headers), b"{}").close()

        head = b"POST /a%20b?c=d HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nContent-Length: 2\r\n\r\n"
        assert got.result(5) == head + b"{}"

    def test_refuses_a_header_of_two_lines(self, transport: ConnectionTransport) -> None:
        url, headers = httpx.URL("http://127.0.0.1:1/"), httpx.Headers({"a": "b\r\nc: d"})

        with pytest.raises(httpx.LocalProtocolError):
            transport.send(Target("GET", url, headers))


class TestSendingAgain:
    def test_happens_once_if_the_warm_connection_was_closed(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        post(transport, chat(fake))
        fake.disconnect()

        assert post(transport, chat(fake))
        assert (fake.connections, len(fake.calls)) == (2, 2)

    def test_does_not_happen_twice(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        post(transport, chat(fake))
        fake.script(Cut(), Cut(), Stream())

        with pytest.raises(httpx.RemoteProtocolError):
            post(transport, chat(fake))
        assert len(fake.calls) == 3

    def test_does_not_happen_on_a_fresh_connection(
        self, fake: FakeOllama, transport: ConnectionTransport
    ) -> None:
        fake.script(Cut(), Stream())

        with pytest.raises(httpx.RemoteProtocolError):
            post(transport, chat(fake))
        assert len(fake.calls) == 1

    def test_does_not_happen_after_the_first_byte_of_an_answer(
        self, transport: ConnectionTransport
    ) -> None:
        def serve(connection: socket.socket) -> None:
            answer(OK)(connection)
            answer(b"HTTP/1.1 2")(connection)

        with Script(serve, answer(OK)) as script:
            assert post(transport, script.url) == b"ok"
            with pytest.raises(httpx.TransportError):
                post(transport, script.url)

    @pytest.mark.parametrize("silent", [Hang(), Stream(then="hang")])
    def test_does_not_happen_after_a_timeout(self, fake: FakeOllama, silent: Hang | Stream) -> None:
        transport = ConnectionTransport(silence_s=0.1)
        post(transport, chat(fake))
        fake.script(silent)

        with pytest.raises(httpx.ReadTimeout):
            post(transport, chat(fake))
        fake.wait_for_disconnect()
        assert (fake.connections, len(fake.calls)) == (1, 2)


def test_a_server_that_does_not_read_is_silent() -> None:
    transport = ConnectionTransport(silence_s=0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = httpx.URL(f"http://127.0.0.1:{server.getsockname()[1]}")
        target = Target("POST", url, httpx.Headers({"Host": "localhost"}))
        with pytest.raises(httpx.ReadTimeout):
            transport.send(target, bytes(64 << 20))  # more than the system keeps for a socket


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"SSH-2.0-OpenSSH_9\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
        ],
    )
    def test_are_errors(self, transport: ConnectionTransport, data: bytes) -> None:
        with Script(answer(data)) as script, pytest.raises((httpx.ProtocolError, httpx.ReadError)):
            post(transport, script.url)

    def test_without_a_length_end_with_the_connection(self, transport: ConnectionTransport) -> None:
        with Script(answer(b"HTTP/1.0 200 OK\r\n\r\nabc"), answer(OK)) as script:
            assert post(transport, script.url) == b"abc"
            assert post(transport, script.url) == b"ok"

    def test_that_come_before_the_request_was_read_are_heard(
        self, transport: ConnectionTransport
    ) -> None:
        def serve(connection: socket.socket) -> None:
            connection.recv(10)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

        with Script(serve) as script:
            assert send(transport, script.url, bytes(8 << 20)).status == 413


class TestConnecting:
    def test_refused(self, fake: FakeOllama, transport: ConnectionTransport) -> None:
        fake.refuse()

        with pytest.raises(httpx.ConnectError, match=r"^connection refused$"):
            post(transport, chat(fake))
        fake.accept()
        assert post(transport, chat(fake))

    def test_unknown_name(self, transport: ConnectionTransport) -> None:
        with pytest.raises(httpx.ConnectError):
            post(transport, "http://nowhere.invalid/")

    def test_impossible_name(self, transport: ConnectionTransport) -> None:
        with pytest.raises(httpx.ConnectError):
            post(transport, f"http://{'a' * 70}.invalid/")

    def test_no_answer(self, full_port: int) -> None:
        transport = ConnectionTransport(silence_s=10, connect_s=0.1)

        with pytest.raises(httpx.ConnectTimeout, match=r"no answer for 0\.1 s"):
            post(transport, f"http://127.0.0.1:{full_port}/")
