"""Where the server listens, in the forms that people write."""

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_queue import Client, generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

NEW = generate_task("m", "x")
OTHER_LOOPBACK = "127.0.0.2"


def run_server(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ollama_queue.http.serving.serve", *options],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        cwd=folder,
        text=True,
        timeout=20,
    )


class SixServer(QueueServer):
    """Listens on IPv6's loopback address, written as in a URL."""

    def __init__(self, folder: Path, model_url: str) -> None:
        super().__init__(folder, model_url)
        self.base_url = f"http://[::1]:{self.port}"

    def command(self) -> list[str | Path]:
        return [*super().command(), "--host", "[::1]"]


def test_an_address_of_ipv6_may_have_brackets(tmp_path: Path) -> None:
    with FakeOllama() as model, SixServer(tmp_path, model.url) as server, server.client() as client:
        assert client.get_queue_stats().total_tasks == 0
        assert f"on {server.base_url};" in server.log_text()


class LocalhostServer(QueueServer):
    def command(self) -> list[str | Path]:
        return [*super().command(), "--host", "localhost"]


def test_localhost_is_both_addresses_of_the_loopback_interface(tmp_path: Path) -> None:
    with FakeOllama() as model, LocalhostServer(tmp_path, model.url) as server:
        assert f"on http://localhost:{server.port};" in server.log_text()
        for host in ("127.0.0.1", "[::1]", "localhost"):
            with Client(f"http://{host}:{server.port}") as client:
                assert client.get_queue_stats().total_tasks == 0
                assert client.wait(client.submit_task(NEW), timeout=20).status == "completed"
                client.delete_tasks(filter={"status": "completed"})
        with socket.socket() as other:
            assert other.connect_ex((OTHER_LOOPBACK, server.port)) == errno.ECONNREFUSED


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_both_addresses_must_be_free(tmp_path: Path, taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as other:
        port = other.getsockname()[1]
        ended = run_server(tmp_path, "--host", "localhost", "--port", str(port))
    words = f"ollama-queue-server: cannot listen on localhost:{port}: Address already in use\n"
    assert (ended.returncode, ended.stderr) == (1, words)


def test_a_host_that_is_none_is_one_line(tmp_path: Path) -> None:
    ended = run_server(tmp_path, "--host", "a b", "--port", "0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("ollama-queue-server: cannot listen on a b:0: ")
    assert ended.stderr.count("\n") == 1
