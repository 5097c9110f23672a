"""Where the server listens, in the forms that people write."""

import subprocess
import sys
from pathlib import Path

from tests.fakes import FakeOllama
from tests.queue_server import QueueServer
from tests.servers import ROOT


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


def test_a_host_that_is_none_is_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ollama_queue.http.serve", "--host", "a b", "--port", "0"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("ollama-queue-server: cannot listen on a b:0: ")
    assert ended.stderr.count("\n") == 1
