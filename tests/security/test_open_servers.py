"""A server that others can use, or whose secrets they can read, says so, or does not start."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

KEY = "oq_of_an_admin_of_the_tests"
WITH_KEY = f"auth: {{keys: [{{name: ops, role: admin, key: {KEY}}}]}}\n"
OPEN = "no API keys: everybody who can reach http://0.0.0.0:"
READABLE = "has keys or passwords, and other users can read it (0644): chmod 600 it"


class ServerFor(QueueServer):
    """A server that listens on `host`, with further options."""

    def __init__(
        self, folder: Path, model_url: str, host: str, *options: str, settings: str = ""
    ) -> None:
        super().__init__(folder, model_url, settings=settings)
        self._options = ["--host", host, *options]

    def command(self) -> list[str | Path]:
        return [*super().command(), *self._options]


@pytest.mark.parametrize(
    ("host", "settings", "is_loud"),
    [("0.0.0.0", "", True), ("0.0.0.0", WITH_KEY, False), ("127.0.0.1", "", False)],
)
def test_without_keys_on_an_open_address_it_says_what_that_means(
    tmp_path: Path, host: str, settings: str, is_loud: bool
) -> None:
    with FakeOllama() as model, ServerFor(tmp_path, model.url, host, settings=settings) as server:
        lines = [line for line in server.log_text().splitlines() if OPEN in line]

    assert len(lines) == is_loud
    for line in lines:
        assert " WARNING " in line
        assert "may read, change and delete all tasks" in line
        assert "--require-auth" in line


@pytest.mark.parametrize("options", [["--require-auth"], []])
def test_who_requires_keys_gets_no_server_without_any(tmp_path: Path, options: list[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("" if options else "auth: {required: true}\n")
    command = [sys.executable, "-P", "-m", "ollama_queue.http.serving.serve", "--port", "0"]
    command += ["--config", str(config), "--data-dir", str(tmp_path / "data"), *options]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )

    assert done.returncode != 0
    assert "key" in done.stderr
    assert "Traceback" not in done.stderr


def test_who_requires_keys_gets_a_server_with_some(tmp_path: Path) -> None:
    with (
        FakeOllama() as model,
        ServerFor(tmp_path, model.url, "127.0.0.1", "--require-auth", settings=WITH_KEY) as server,
    ):
        assert server.pid


@pytest.mark.parametrize(
    ("settings", "mode", "warns"),
    [(WITH_KEY, 0o644, True), (WITH_KEY, 0o600, False), ("", 0o644, False)],
)
def test_secrets_that_others_can_read_are_warned_about(
    tmp_path: Path, settings: str, mode: int, warns: bool
) -> None:
    with FakeOllama() as model:
        server = QueueServer(tmp_path, model.url, settings=settings)
        server.config.chmod(mode)
        with server:
            log = server.log_text()

    assert (f"{server.config} {READABLE}" in log) == warns
    assert KEY not in log
