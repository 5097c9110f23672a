"""The processes that are measured or compared with, each stopped by its own id."""

import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"
NOWHERE = "http://127.0.0.1:1"  # refuses
BOOT_S = 600.0


class ChildProgram:
    """A program with pipes to it, seen from its parent, and killed in the end."""

    def __init__(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.communicate()

    @property
    def pid(self) -> int:
        return self._child.pid

    def tell(self, data: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def line(self) -> bytes:
        """The next line that it prints."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended early; its words are above")
        return line


class Process:
    """A server on a free port; ready when `path` returns 200.

    `command` is started with `--port N` and `options`, in the folder `code` (that of the caller if
    None) and with its modules, so that the server of another checkout can be measured.
    """

    def __init__(
        self,
        command: Sequence[str],
        path: str,
        log: Path,
        *options: str,
        code: Path | None = None,
    ) -> None:
        self.port, self._log = free_port(), log
        began = time.monotonic()
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                [*command, "--port", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=code,
                env=environment(code),
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
    def pid(self) -> int:
        return self._child.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu_s(self) -> float:
        """CPU time used by the process and all of its threads, in seconds."""
        return cpu_s(self._child.pid)

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


def environment(code: Path | None) -> dict[str, str] | None:
    """The environment of a child that imports from the folder `code`; None is the caller's own."""
    return None if code is None else {**os.environ, "PYTHONPATH": str(code)}


def cpu_s(pid: int) -> float:
    """CPU time used by a process, from Linux's clock of that process, which counts nanoseconds."""
    return time.clock_gettime(~pid << 3 | 2)


def module(name: str) -> list[str]:
    """The command that runs a Python module with the caller's interpreter."""
    return [sys.executable, "-m", name]


def compiled(name: str) -> str:
    """The path of a C program of `programs/`, compiled into build/ when it has changed."""
    source = PROGRAMS / f"{name}.c"
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = ROOT / "build" / "benchmarks" / f"{name}-{version}"
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two concurrent runs the second finds it done
        if not program.exists():
            if shutil.which("cc") is None:
                raise SystemExit("A C compiler was not found: apt install gcc libc6-dev")
            partial = program.with_suffix(".partial")
            subprocess.run(["cc", "-O2", "-o", str(partial), str(source)], check=True)
            partial.rename(program)
    return str(program)


def queue_server(
    folder: Path, *, model_url: str = NOWHERE, workers: int = 4, code: Path | None = None
) -> Process:
    """`ollama-queue-server` on `folder`, durable; that of another checkout with `code`."""
    options = ["--ollama-host", model_url, "--workers", str(workers)]
    return _serve(folder, code, *options)


def server_of(folder: Path, settings: dict[str, Any]) -> Process:
    """The same with these settings, in the form of `config.yaml`."""
    return _serve(folder, None, *_settings(folder, settings))


def server_on(storage: str, folder: Path, settings: dict[str, Any]) -> Process:
    """The same on the PostgreSQL at `storage`; the names of `folder` are for its own files."""
    command, log = module("ollama_queue.http.serving.serve"), folder.with_suffix(".log")
    options = ["--storage", storage, *_settings(folder, settings)]
    return Process(command, "/healthz", log, *options)


def _settings(folder: Path, settings: dict[str, Any]) -> list[str]:
    path = folder.with_suffix(".yaml")
    path.write_text(json.dumps(settings))  # JSON is YAML
    return ["--config", str(path)]


def _serve(folder: Path, code: Path | None, *options: str) -> Process:
    command, log = module("ollama_queue.http.serving.serve"), folder.with_suffix(".log")
    return Process(command, "/healthz", log, "--data-dir", str(folder), *options, code=code)


def paused_server(
    folder: Path, *, model_url: str = NOWHERE, workers: int = 4, code: Path | None = None
) -> Process:
    """The same, accepting tasks and running none."""
    server = queue_server(folder, model_url=model_url, workers=workers, code=code)
    server.post("/api/pause")
    return server


class Stub(Process):
    """A model server that answers at once and records calls (`programs/stub.c`)."""

    def __init__(self, log: Path) -> None:
        super().__init__([compiled("stub")], "/books", log)

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
    """Plain pywsgi (`programs/hello.py`)."""
    return Process(module("benchmarks.programs.hello"), "/", log)


def door_server(log: Path) -> Process:
    """The HTTP server over a queue that keeps nothing (`programs/door.py`)."""
    return Process(module("benchmarks.programs.door"), "/healthz", log)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
