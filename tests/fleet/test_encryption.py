"""Servers that speak HTTPS with each other, with certificates of an authority of their own."""

import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from threading import Event
from typing import Any
from urllib.request import urlopen

import httpx
import psycopg
import pytest
import websocket

from ollama_queue import Client, Unavailable, chat_task, generate_task
from tests.support.fakes.behaviours import Hang, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import PATIENCE_S, ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.real_models import ROOT

SLOTS = 8  # of both servers


class SecureServer(ServerOfFleet):
    """Speaks HTTPS, with the certificates of a folder."""

    def __init__(self, authority: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.url = self.base_url = self.base_url.replace("http:", "https:")
        self.trust = ssl.create_default_context(cafile=authority / "ca.pem")
        files = {"tls_cert": authority / "server.pem", "tls_key": authority / "server.key"}
        text = self.config.read_text().replace("{name: ", f"{{parallel: {SLOTS}, name: ")
        self.config.write_text(f"{text}server: {json.dumps(files, default=str)}\n")

    def _wait_until_ready(self, process: Any) -> None:
        pause = Event()
        while process.poll() is None:
            with suppress(OSError), urlopen(self.ready_url(), context=self.trust, timeout=2):
                return
            pause.wait(0.05)
        raise RuntimeError(self.log_text())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of docs/fleet.md make: `ca.pem`, and a server's."""
    folder = tmp_path_factory.mktemp("authority")
    text = (ROOT / "docs" / "fleet.md").read_text()
    commands = re.search(r"```bash\n(openssl .*?)```", text, re.DOTALL)
    assert commands is not None
    script = commands[1].replace("10.0.0.5", "127.0.0.1")
    # As strict as Python is since 3.13.
    script += "openssl verify -x509_strict -CAfile ca.pem server.pem"
    subprocess.run(["bash", "-e", "-c", script], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def secure_fleet(
    database: PostgresServer,
    model: FakeOllama,
    tmp_path: Path,
    authority: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ServersOfQueue]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    with (
        database.queue() as conninfo,
        ServersOfQueue(
            tmp_path, model.url, conninfo, size=2, make=partial(SecureServer, authority)
        ) as servers,
    ):
        yield servers


def test_a_follower_passes_all_on_over_https(
    secure_fleet: ServersOfQueue, model: FakeOllama
) -> None:
    (follower,) = secure_fleet.followers()
    with secure_fleet.ready(follower) as client:
        secure_fleet.until(lambda: len(client.list_servers()) == 2)
        assert all(str(server.url).startswith("https://") for server in client.list_servers())
        check_streams(client, model, secure_fleet.conninfo)
        check_web_socket(follower, client)
        check_departure(follower, model)
        check_large_body(client)


def check_streams(client: Client, model: FakeOllama, conninfo: str) -> None:
    """Of calls that both servers make: those of the follower are read by the leader first."""
    before, model.default = model.default, Stream(words=["one ", "two"], then="hang")
    words = chat_task("m", [{"role": "user", "content": "x"}])
    ids = [client.submit_task(words) for _ in range(SLOTS)]
    for stream in [client.stream_task(task_id) for task_id in ids]:
        chunks = [next(stream).data["message"]["content"] for _ in range(2)]
        assert chunks == ["one ", "two"]
    with psycopg.connect(conninfo) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
    assert count == SLOTS / 2
    model.default = before
    client.cancel_tasks(ids)
    model.wait_until_idle(timeout=PATIENCE_S)


def check_web_socket(follower: ServerOfFleet, client: Client) -> None:
    trust = {"ca_certs": os.environ["SSL_CERT_FILE"]}
    url = f"wss://127.0.0.1:{follower.port}/ws"
    socket = websocket.create_connection(url, sslopt=trust, timeout=PATIENCE_S)
    assert json.loads(socket.recv())["type"] == "snapshot"
    task_id = client.submit_task(generate_task("m", "hi"))
    while (message := json.loads(socket.recv()))["type"] != "event":
        pass
    assert message["task"]["id"] == task_id
    socket.ping("are you there?")
    while socket.recv_data_frame(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
        pass
    socket.close()
    client.wait(task_id, timeout=PATIENCE_S)  # else it may take what the next call is to meet


def check_departure(follower: ServerOfFleet, model: FakeOllama) -> None:
    model.script(Hang())
    connection = HTTPSConnection("127.0.0.1", follower.port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})
    calls, disconnects = len(model.calls), model.disconnects
    connection.request("POST", "/api/chat", body)
    model.wait_for_calls(calls + 1, timeout=PATIENCE_S)
    connection.close()
    model.wait_for_disconnect(timeout=PATIENCE_S, count=disconnects + 1)


def check_large_body(client: Client) -> None:
    made = client.submit_batch([generate_task("m", "x" * 1000) for _ in range(500)])
    assert len(client.wait_batch(made, timeout=PATIENCE_S)) == 500


def readiness(server: Any) -> int:
    return httpx.get(f"{server.base_url}/readyz", verify=server.trust, timeout=20).status_code


def test_a_follower_that_does_not_trust_the_leader_says_so(
    secure_fleet: ServersOfQueue, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (follower,) = secure_fleet.followers()
    follower.kill()
    stranger = Client(follower.base_url)  # which trusts the authority itself
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "server.key"))
    follower.start()
    assert readiness(follower) == 200  # as far as it knows
    with stranger, pytest.raises(Unavailable, match="certificate not accepted"):
        stranger.get_queue_stats()
    assert readiness(follower) == 503
    assert "no request reaches the server that leads, at https://" in follower.log_text()
