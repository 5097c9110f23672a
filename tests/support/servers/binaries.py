"""Runs the standalone binaries in an empty folder, without Python or environment variables."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.support.servers.real_models import ROOT, model_server

DIST = ROOT / "dist"
ANSWER_WITHIN_S = 30


class Programs:
    """Runs commands in an empty folder; temporary files go beside it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.temporary = folder / "temporary"
        self.log = folder / "server.log"
        self.home.mkdir()
        self.temporary.mkdir()
        self.server_url = "http://127.0.0.1:1"

    def command(self, name: str, *arguments: str) -> list[str | Path]:
        """The command; `env` replaces itself with the program, so the process is the program's."""
        empty = [f"--chdir={self.home}", "PATH=/nonexistent", f"TMPDIR={self.temporary}"]
        return ["env", "-i", *empty, DIST / name, *arguments]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(name, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN_S)

    def ask(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        done = self.run("ollama-queue", "--server", self.server_url, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self, *options: str) -> str:
        return self.ask("submit", "generate", "--model", "m", "--prompt", "Hello", *options)

    def task(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = json.loads(self.ask("status", task_id, "--output", "json"))
        return task


class BinaryServer(model_server.ServerProcess):
    """`dist/ollama-queue-server` with one worker and its data in the current folder."""

    def __init__(self, programs: Programs, model_url: str) -> None:
        super().__init__("ollama-queue-server", programs.log)
        self.programs = programs
        self.model_url = model_url

    def command(self) -> list[str | Path]:
        options = ("--port", str(self.port), "--ollama-host", self.model_url, "--workers", "1")
        return self.programs.command("ollama-queue-server", *options)

    def ready_url(self) -> str:
        return f"{self.base_url}/healthz"

    def terminate(self) -> None:
        """Send SIGTERM, as `kill` and service managers do."""
        os.kill(self.pid, signal.SIGTERM)

    def press_ctrl_c(self) -> None:
        """Signal all processes of the group, as a terminal does."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        assert self._process is not None
        return self._process.wait(ANSWER_WITHIN_S)
