"""The queue server as a separate process that tests can kill and restart on the same folder."""

import sys
from pathlib import Path

from ollama_queue import Client
from tests.support.servers.real_models import ROOT, model_server


class QueueServer(model_server.ServerProcess):
    """`ollama-queue-server` on a free loopback port, with its log beside its data."""

    def __init__(
        self,
        folder: Path,
        model_url: str,
        *,
        workers: int = 4,
        parallel: int | None = None,
        kind: str = "ollama",
        settings: str = "",
    ) -> None:
        """`parallel`: how many calls the model server takes at once, by default as many as there
        are workers. `settings` are further lines of its configuration."""
        super().__init__("ollama-queue-server", folder / "server.log")
        self.folder = folder
        self.workers = workers
        self.config = folder / "config.yaml"
        self.config.parent.mkdir(parents=True, exist_ok=True)
        limit = "" if parallel is None else f", parallel: {parallel}"
        self.config.write_text(
            f"backends: [{{name: ollama, type: {kind}, url: '{model_url}'{limit}}}]\n"
            "retry_config: {initial_delay: 50ms, max_delay: 200ms}\n" + settings
        )

    def command(self) -> list[str | Path]:
        options: list[str | Path] = ["--port", str(self.port), "--data-dir", self.folder / "data"]
        options += ["--config", self.config, "--workers", str(self.workers)]
        # So that no server is left when a test process is killed, as by Ctrl-C in parallel runs.
        with_parent: list[str | Path] = ["setpriv", "--pdeathsig", "TERM"]
        return [*with_parent, sys.executable, "-m", "ollama_queue.http.serving.serve", *options]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def ready_url(self) -> str:
        return f"{self.base_url}/healthz"

    def client(self) -> Client:
        return Client(self.base_url)

    def log_text(self) -> str:
        return str(self.log.read_text(errors="replace"))
