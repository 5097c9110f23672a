"""The command line over an embedded queue in front of the fake model server."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import httpx
from click.testing import CliRunner, Result

from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.actors.core.config.config import Config, OllamaSettings, QueueSettings
from ollama_queue.actors.core.intake.submission import chat_task
from ollama_queue.actors.embedded.manager import QueueManager
from ollama_queue.cli.main import cli
from ollama_queue.cli.terminal.session import Session
from ollama_queue.http.clients.batch_files import BatchFiles
from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import FakeOllama


def run(
    connect: Callable[[str], AbstractContextManager[QueueAPI]],
    *args: str,
    files: Callable[[str], BatchFiles] = BatchFiles,
    stdin: str = "",
) -> Result:
    """Run `ollama-queue` with our queue; unexpected exceptions are raised."""
    session = Session(connect, files)
    result = CliRunner().invoke(cli, list(args), stdin, prog_name="ollama-queue", obj=session)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class CliHarness:
    """A queue with one worker; use it as a context manager. `servers`: `--server` values used."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama()
        self.servers: list[str] = []
        path = str(folder / "data")
        self.queue = QueueManager(
            Config(
                ollama=OllamaSettings(host=self.fake.url),
                queue=QueueSettings(storage_path=path, max_workers=1),
            )
        )

    def __enter__(self) -> Self:
        self.queue.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close(grace_s=0)
        self.fake.refuse()

    def run(self, *args: str, stdin: str = "") -> Result:
        return run(self._connect, *args, files=self._files, stdin=stdin)

    def _files(self, server: str) -> BatchFiles:
        return BatchFiles(server, httpx.WSGITransport(app=create_app(self.queue)))

    def ok(self, *args: str) -> str:
        """Run a command that must succeed; returns its output."""
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.ok(*args, "--output", "json"))

    def submitted(self, words: str = "hello", **fields: Any) -> str:
        return self.queue.submit_task(
            chat_task("m", [{"role": "user", "content": words}], **fields)
        )

    def ended(self, words: str = "hello") -> str:
        task_id = self.submitted(words)
        self.queue.wait(task_id, timeout=5)
        return task_id

    def _connect(self, server: str) -> AbstractContextManager[QueueAPI]:
        self.servers.append(server)
        return nullcontext(self.queue)
