"""The HAProxy of docs/fleet.md in front of the servers, while each of them is killed in turn."""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websocket

from ollama_queue import Client, Status
from ollama_queue import generate_task as generate
from tests.support.servers.fleet import PATIENCE_S, ServersOfQueue, check_ends
from tests.support.servers.real_models import ROOT, model_server

HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or "haproxy"


class Balancer(model_server.ServerProcess):
    """HAProxy, with the configuration of docs/fleet.md and the addresses of this test."""

    def __init__(self, folder: Path, fleet: ServersOfQueue) -> None:
        super().__init__("haproxy", folder / "haproxy.log")
        text = (ROOT / "docs" / "fleet.md").read_text()
        example = re.search(r"```haproxy\n(.*?)```", text, re.DOTALL)
        assert example is not None
        config = example[1].replace(":7125\n", f"127.0.0.1:{self.port}\n", 1)
        for number, server in enumerate(fleet.servers, 1):
            config = config.replace(f"queue{number}:7125", f"127.0.0.1:{server.port}")
        assert "7125" not in config
        self.config = folder / "haproxy.cfg"
        self.config.write_text(config)

    def command(self) -> list[str | Path]:
        return ["setpriv", "--pdeathsig", "TERM", HAPROXY, "-db", "-f", self.config]

    def ready_url(self) -> str:
        return f"{self.base_url}/readyz"


@pytest.fixture
def balancer(fleet: ServersOfQueue, tmp_path: Path) -> Iterator[Balancer]:
    if shutil.which(HAPROXY) is None:
        pytest.skip("needs HAProxy: apt install haproxy")
    with Balancer(tmp_path, fleet) as running:
        yield running


def test_users_notice_nothing(fleet: ServersOfQueue, balancer: Balancer) -> None:
    ids: list[str] = []
    failures: list[Exception] = []
    over = threading.Event()

    def submit() -> None:
        with Client(balancer.base_url) as client:
            while not over.is_set():
                try:
                    ids.append(client.submit_task(generate("m", "hi")))
                except Exception as error:
                    failures.append(error)

    user = threading.Thread(target=submit)
    user.start()
    for server in fleet.servers:
        count = len(ids)
        server.kill()
        fleet.until(lambda before=count: len(ids) > before + 1)
        server.start()
        fleet.until(lambda at=server.base_url: httpx.get(f"{at}/readyz").status_code == 200)
    over.set()
    user.join()

    assert failures == []
    with Client(balancer.base_url) as client:
        for task_id in ids:
            assert client.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED
    check_ends(fleet.versions())


def test_web_sockets_pass(balancer: Balancer) -> None:
    socket = websocket.create_connection(f"ws://127.0.0.1:{balancer.port}/ws", timeout=PATIENCE_S)
    assert '"snapshot"' in str(socket.recv())
    socket.close()
