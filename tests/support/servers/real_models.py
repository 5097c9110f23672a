"""Real model servers for the tests: llama.cpp's (OpenAI's API) and Ollama, on loopback ports.

The fixtures `llama` and `ollama` share one of each for the complete run. A test that kills a server
starts its own, in a `with` block, from the main thread.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from ollama_queue import Client, Status

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / ".dev"))

# Also started by `make run` and `make demo`; `as` tells type checkers that it is re-exported.
import model_server as model_server  # noqa: E402

FOLDER = ROOT / ".backends"
PATIENCE_S = 120.0  # for a reply
MOST_AT_ONCE = 50  # tokens that a model may have said when its client is seen to have left
MODELFILE = """\
FROM {gguf}
PARAMETER num_ctx 2048
PARAMETER num_thread 1
PARAMETER num_predict {most}
"""
MOST_SAID = 64  # tokens of a reply whose request sets no limit: a small model may go on for ever


def is_cancelled_by(leave: Callable[[], object], queue: Client) -> bool:
    """Whether `leave`, which reads the start of a long reply and leaves, cancels its task. A model
    whose reply was over by then is asked again: how much it says is not up to us."""
    for _ in range(5):
        leave()
        (task, *_) = queue.list_tasks()
        ended = queue.wait(task.id, timeout=PATIENCE_S)
        if ended.status is Status.CANCELLED or ended.tokens > MOST_AT_ONCE:
            break
    return ended.status is Status.CANCELLED


class LlamaServer(model_server.LlamaServer):
    """llama.cpp's server. The API is at `url`, `/health` and `/slots` at `base_url`."""

    def __init__(
        self,
        *,
        parallel: int = 1,
        context: int = 2048,
        predict: int = MOST_SAID,
        embedding: bool = False,
        api_key: str = "",
    ) -> None:
        super().__init__(
            FOLDER,
            parallel=parallel,
            context=context,
            predict=predict,
            embedding=embedding,
            api_key=api_key,
        )
        self.api_key = api_key

    def processing_slots(self) -> int:
        """How many requests the model is processing now, according to the server."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        request = urllib.request.Request(f"{self.base_url}/slots", headers=headers)
        with model_server.DIRECT.open(request, timeout=5) as response:
            return sum(slot["is_processing"] for slot in json.load(response))

    def busy(self) -> bool:
        return self.processing_slots() > 0

    def wait_until_busy(self, timeout_s: float = 10) -> None:
        _wait_for(self, True, timeout_s)

    def wait_until_idle(self, timeout_s: float = 10) -> None:
        _wait_for(self, False, timeout_s)


class OllamaServer(model_server.ServerProcess):
    """Ollama 0.9.3 on the CPU. `environment` adds variables, such as OLLAMA_MAX_QUEUE."""

    model = "smollm2:135m"

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        super().__init__("Ollama", FOLDER / "ollama.log")
        self.url = self.base_url
        self.extra = environment or {}

    def start(self) -> None:
        model_server.install(FOLDER, "ollama")
        super().start()
        self._create_model()

    def command(self) -> list[str | Path]:
        return ["setpriv", "--pdeathsig", "TERM", FOLDER / "ollama-serve", str(self.port)]

    def environment(self) -> dict[str, str]:
        # NOPRUNE: a second server may be creating the model in the shared folder at this moment.
        shared = {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_NOPRUNE": "1"}
        return shared | {"OMP_WAIT_POLICY": "PASSIVE"} | self.extra

    def ready_url(self) -> str:
        return f"{self.base_url}/api/version"

    def _create_model(self) -> None:
        """Create the model. Other servers may be creating it too, each from its own file."""
        modelfile = FOLDER / f"Modelfile.{self.port}"
        modelfile.write_text(MODELFILE.format(gguf=FOLDER / "smollm2.gguf", most=MOST_SAID))
        create: list[str | Path] = [
            FOLDER / "ollama-serve",
            str(self.port),
            "create",
            self.model,
            "-f",
            modelfile,
        ]
        done = subprocess.run(create, capture_output=True, text=True)
        modelfile.unlink()
        if done.returncode != 0:
            self.stop()
            raise RuntimeError(f"Ollama could not create {self.model}: {done.stderr.strip()}")

    def busy(self) -> bool:
        """Whether the model is computing: whether Ollama's runners used the CPU just now.

        Ollama does not report it: /api/ps drops a request as soon as its client leaves, even if the
        runner continues. An idle runner sleeps, a computing one uses all the CPU it can get.
        """
        before = self._runner_ticks()
        Event().wait(0.25)
        return self._runner_ticks() - before >= 3

    def _runner_ticks(self) -> int:
        """CPU time in 1/100 s of the server's children: its session without itself."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                stat = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended in the meantime
            session, user, system = int(stat[3]), int(stat[11]), int(stat[12])
            if session == self.pid and int(process.name) != self.pid:
                ticks += user + system
        return ticks

    def wait_until_busy(self, timeout_s: float = 10) -> None:
        _wait_for(self, True, timeout_s)

    def wait_until_idle(self, timeout_s: float = 10) -> None:
        _wait_for(self, False, timeout_s)


Server = LlamaServer | OllamaServer


def kind_of(server: Server) -> Any:
    """The server's backend `type`."""
    return "openai" if isinstance(server, LlamaServer) else "ollama"


def _wait_for(server: Server, busy: bool, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    pause = Event()
    while server.busy() is not busy:
        if time.monotonic() > deadline:
            state = "idle" if busy else "busy"
            raise TimeoutError(f"{server.name} was still {state} after {timeout_s} s")
        pause.wait(0.02)
