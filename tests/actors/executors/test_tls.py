"""The transport over TLS: whom it trusts, and that it can still be cut."""

import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from ollama_queue.actors.executors import transport as transport_module
from ollama_queue.actors.executors.transport import Aborted, ConnectionTransport
from tests.support.fakes.raw_http import OK, Script, in_thread, post

_REQUEST = shlex.split(
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    " -addext subjectAltName=IP:127.0.0.1"
)


class TestTls:
    def test_needs_a_certificate_it_trusts(
        self, tls_server: ssl.SSLContext, transport: ConnectionTransport
    ) -> None:
        def serve(connection: socket.socket) -> None:
            secured(tls_server, connection)

        with (
            Script(serve) as script,
            pytest.raises(httpx.ConnectError, match="certificate not accepted: self"),
        ):
            post(transport, f"https://{script.netloc}/")

    def test_carries_calls_and_can_be_cut(
        self, tls_server: ssl.SSLContext, trusted: None, transport: ConnectionTransport
    ) -> None:
        waiting = threading.Event()

        def serve(connection: socket.socket) -> None:
            secure = secured(tls_server, connection)
            assert secure is not None
            with secure:
                secure.recv(65536)
                secure.sendall(OK)
                secure.recv(65536)
                waiting.set()
                script.until_eof(secure)

        with Script(serve) as script:
            url = f"https://{script.netloc}/"
            assert post(transport, url) == b"ok"
            call = in_thread(lambda: post(transport, url))
            assert waiting.wait(5)
            transport.abort()

            with pytest.raises(Aborted):
                call.result(5)

    def test_is_not_used_again_when_something_is_left_in_it(
        self, tls_server: ssl.SSLContext, trusted: None, transport: ConnectionTransport
    ) -> None:
        """The socket is silent then: what came is in OpenSSL's hands."""

        def serve(connection: socket.socket) -> None:
            secure = secured(tls_server, connection)
            assert secure is not None
            with secure:
                secure.recv(65536)
                secure.sendall(OK[:-2])
                secure.sendall(OK[-2:] + OK.replace(b"ok", b"no"))
                script.until_eof(secure)

        with Script(serve, serve) as script:
            url = f"https://{script.netloc}/"
            assert [post(transport, url) for _ in range(2)] == [b"ok", b"ok"]
            assert script.saw_eof.wait(5)


def secured(context: ssl.SSLContext, connection: socket.socket) -> ssl.SSLSocket | None:
    try:
        return context.wrap_socket(connection, server_side=True)
    except OSError:
        return None


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts, and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [openssl, *_REQUEST, "-keyout", path / "key.pem", "-out", path / "cert.pem"],
        check=True,
        capture_output=True,
    )
    both = path / "both.pem"
    both.write_text((path / "key.pem").read_text() + (path / "cert.pem").read_text())
    return both


@pytest.fixture
def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(transport_module, "trusting_tls", lambda: context)
