"""The processes that are measured or compared with, each stopped by its own id."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NOWHERE = "http://127.0.0.1:1"  # refuses
BOOT_S = 600.0


class Process:
    """One of our modules as a server on a free port; ready when `path` returns 200."""

    def __init__(self, module: str, path: str, log: Path, *options: str) -> None:
        self.port, self._log = _free_port(), log
        began = time.monotonic()
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-m", module, "--port", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            self._await(path, began + BOOT_S)
        except BaseException:
            self.kill()
            raise
        self.ready_s = time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(30)

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def post(self, path: str) -> Any:
        return self.request("POST", path)

    def request(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers={"Content-Length": "0"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {body[:200]!r}")
            return json.loads(body)
        finally:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu_s(self) -> float:
        """CPU time used by the process, in seconds."""
        return time.clock_gettime(~self._child.pid << 3 | 2)  # Linux's clock of a process

    def _await(self, path: str, deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                self.get(path)
                return
            except OSError:
                time.sleep(0.001)
            if self._child.poll() is not None:
                raise RuntimeError(f"it ended at once: {self._log.read_text()[-500:]}")
        raise TimeoutError(f"not ready within {BOOT_S:g} s: {self._log}")


def queue_server(folder: Path, *, model_url: str = NOWHERE, workers: int = 4) -> Process:
    """`ollama-queue-server` on `folder`, durable."""
    options = ["--ollama-host", model_url, "--workers", str(workers)]
    return _serve(folder, *options)


def server_of(folder: Path, settings: dict[str, Any]) -> Process:
    """The same with these settings, in the form of `config.yaml`."""
    path = folder.with_suffix(".yaml")
    path.write_text(json.dumps(settings))  # JSON is YAML
    return _serve(folder, "--config", str(path))


def _serve(folder: Path, *options: str) -> Process:
    log = folder.with_suffix(".log")
    return Process(
        "ollama_queue.http.serving.serve", "/healthz", log, "--data-dir", str(folder), *options
    )


def paused_server(folder: Path, *, model_url: str = NOWHERE, workers: int = 4) -> Process:
    """The same, accepting tasks and running none."""
    server = queue_server(folder, model_url=model_url, workers=workers)
    server.post("/api/pause")
    return server


class Stub(Process):
    """A model server that answers at once and records calls (`stub.py`)."""

    def __init__(self, log: Path) -> None:
        super().__init__("benchmarks.stub", "/books", log)

    def reset(self) -> None:
        self.post("/reset")

    def books(self) -> dict[str, Any]:
        books: dict[str, Any] = self.get("/books")
        return books

    def await_calls(self, count: int, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait for `count` calls; returns the recorded figures."""
        deadline = time.monotonic() + timeout_s
        while (books := self.books())["calls"] < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{books['calls']} of {count} calls within {timeout_s:g} s")
            time.sleep(0.05)
        return books


def hello_server(log: Path) -> Process:
    """Plain pywsgi (`hello.py`)."""
    return Process("benchmarks.hello", "/", log)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
