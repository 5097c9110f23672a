"""The server over TLS, with a certificate of a private authority; and pages of other sites."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from ollama_queue import AsyncClient, Client, QueueError, Status, Unavailable, generate_task
from tests.actors.executors.test_tls import certificate  # noqa: F401 (a fixture)
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

FRIEND = "https://app.example.com"
PATIENCE_S = 10.0


class TlsServer(QueueServer):
    """Speaks HTTPS; `base_url` says so."""

    def __init__(self, folder: Path, model_url: str, certificate: Path) -> None:  # noqa: F811
        super().__init__(folder, model_url)
        self.base_url = self.base_url.replace("http:", "https:")
        with self.config.open("a") as config:
            config.write(
                f"server: {{tls_cert: '{certificate}', tls_key: '{certificate}',"
                f" cors_origins: ['{FRIEND}']}}\n"
            )

    def _wait_until_ready(self, process: Any) -> None:
        pause = threading.Event()
        with self.client() as client:
            while process.poll() is None:
                try:
                    client.get_queue_stats()
                    return
                except QueueError:
                    pause.wait(0.05)
        raise RuntimeError(self.log_text())


@pytest.fixture
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def server(
    tmp_path: Path,
    model: FakeOllama,
    certificate: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TlsServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with TlsServer(tmp_path, model.url, certificate) as running:
        yield running


def test_clients_speak_it_and_check_the_certificate(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client() as client:
        task_id = client.submit_task(generate_task("m", "hi"))
        assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED

    async def asked() -> int:
        async with AsyncClient(server.base_url) as queue:
            return (await queue.get_queue_stats()).total_tasks

    assert asyncio.run(asked()) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    with Client(server.base_url) as stranger, pytest.raises(Unavailable, match="CERTIFICATE"):
        stranger.get_queue_stats()


def test_a_departure_is_noticed(
    server: TlsServer,
    model: FakeOllama,
    certificate: Path,  # noqa: F811
) -> None:
    model.script(Hang())
    context = ssl.create_default_context(cafile=certificate)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with server.client() as client:
        events = client.subscribe(["task_cancelled"])
        raw = socket.create_connection(("127.0.0.1", server.port))
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
            connection.sendall(f"{head}\r\n\r\n".encode() + body)
            model.wait_for_calls(1)

        assert events.get(PATIENCE_S).event == "task_cancelled"
    model.wait_for_disconnect()


def test_web_sockets_are_for_friends(server: TlsServer, certificate: Path) -> None:  # noqa: F811
    url = server.base_url.replace("https", "wss") + "/ws"
    trust = {"ca_certs": str(certificate)}
    made = websocket.create_connection(url, sslopt=trust, origin=FRIEND, timeout=PATIENCE_S)
    assert json.loads(made.recv())["type"] == "snapshot"
    made.close()

    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, sslopt=trust, origin="https://evil", timeout=PATIENCE_S)


def test_who_speaks_no_tls_disturbs_nobody(server: TlsServer) -> None:
    with socket_to(server) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with server.client() as client:
            assert client.get_queue_stats().total_tasks == 0


def socket_to(server: TlsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def test_files_that_do_not_do_are_one_line_and_exit_2(
    tmp_path: Path,
    certificate: Path,  # noqa: F811
) -> None:
    (tmp_path / "bad.pem").write_text("nonsense")
    for cert in ("missing.pem", "bad.pem"):
        told = start(tmp_path, tmp_path / cert, certificate)
        assert told.startswith(f"ollama-queue-server: server.tls_cert {tmp_path / cert} and ")
        assert told.count("\n") == 1


def start(folder: Path, cert: Path, key: Path) -> str:
    """What the server says that does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "ollama_queue.http.serving.serve", "--port", "0"],
        env={"PYTHONPATH": str(ROOT), "SERVER_TLS_CERT": str(cert), "SERVER_TLS_KEY": str(key)},
        capture_output=True,
        cwd=folder,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr
