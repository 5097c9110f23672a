"""Real model servers as child processes: install, start, wait until ready, stop, kill."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STOP_WAIT_S = 5
START_WAIT_S = 60
# Those in the READMEs of the clients of OpenAI, Anthropic and Ollama, so that their examples run.
README_MODELS = ("gpt-5.5", "claude-opus-5-5", "gemma4")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # ignores http_proxy


def install(folder: Path, part: str) -> None:
    """Install a part of the model servers into the folder, unless it is already installed."""
    script = HERE / "install_model_servers.sh"
    done = subprocess.run([script, folder, part], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())


class ReservedPort:
    """A free loopback port that the system assigns to nobody else while this object exists.

    A server may listen on it, stop and restart: all servers here set SO_REUSEADDR, and the socket
    that reserves the port never listens, so connections are refused while no server does.
    """

    def __init__(self) -> None:
        self._keeper = socket.socket()
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._keeper.bind(("127.0.0.1", 0))
        self.number: int = self._keeper.getsockname()[1]


def answers(url: str) -> bool:
    """Whether a GET of the URL returns 200 within two seconds."""
    try:
        with DIRECT.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


class ServerProcess:
    """A server on a loopback port, in its own session, so that Ctrl-C does not reach it.

    Start it from the main thread: it exits when the thread that started it ends.
    """

    def __init__(self, name: str, log: Path, port: int = 0) -> None:
        self.name = name
        self.log = log
        self._reserved = None if port else ReservedPort()
        self.port = self._reserved.number if self._reserved else port
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def ready_url(self) -> str:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the server, on the same port each time, and wait until it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_WAIT_S
        pause = Event()
        while not answers(self.ready_url()):
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start: {self._last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not answer in time: {self._last_words()}")
            pause.wait(0.05)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} ({self.log})"

    def stop(self) -> None:
        """Stop the server; kill it and its children if that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WAIT_S)
        self.kill()

    def kill(self) -> None:
        """Kill the server and all its children, as a crash would."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # the server and its children have already ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class LlamaServer(ServerProcess):
    """SmolLM2-135M on llama.cpp's server, with OpenAI's API; installed if needed."""

    model = "smollm2"

    def __init__(
        self,
        folder: Path,
        *,
        parallel: int = 1,
        context: int = 2048,
        predict: int = -1,
        embedding: bool = False,
        api_key: str = "",
        port: int = 0,
    ) -> None:
        super().__init__("llama.cpp's server", folder / "llama.log", port)
        self.url = f"{self.base_url}/v1"
        self.folder = folder
        self.options = [f"--parallel={parallel}", f"--context={context}", f"--predict={predict}"]
        self.options += ["--embedding"] if embedding else []
        self.options += [f"--api-key={api_key}"] if api_key else []

    def start(self) -> None:
        install(self.folder, "llama")
        super().start()

    def command(self) -> list[str | Path]:
        return [
            self.folder / "venv/bin/python",
            HERE / "llama_server.py",
            self.folder / "smollm2.gguf",
            f"--port={self.port}",
            f"--alias={self.model}",
            f"--with-parent={os.getpid()}",
            *self.options,
        ]

    def ready_url(self) -> str:
        return f"{self.base_url}/health"


def write_config(path: Path, model_url: str, others: Iterable[str] = ()) -> None:
    """Write a queue configuration with this model server as its only backend, whose model also runs
    what is asked of `others`, which it does not have."""
    backend = f'{{name: demo, type: openai, url: "{model_url}", parallel: 1}}'
    lines = [f"  {name}: {{fallback: [{LlamaServer.model}]}}" for name in others]
    models = ["models:", *lines] if lines else []
    path.write_text("\n".join(["backends:", f"  - {backend}", *models, ""]))
