"""What ends a server: any signal that asks it to, and what runs may end first."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Status, generate_task
from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

PATIENCE_S = 20.0


@pytest.fixture
def hangup_ends() -> Iterator[None]:
    """SIGHUP as in a terminal, which the server inherits: under nohup it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_ends")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"])
def test_what_runs_may_end_and_no_interruption_is_spent(tmp_path: Path, name: str) -> None:
    gate = threading.Event()
    with (
        FakeOllama(lambda _: Stream(gate=gate)) as model,
        QueueServer(tmp_path, model.url) as server,
        server.client() as client,
    ):
        task_id = client.submit_task(generate_task("m", "x"))
        model.wait_for_calls(1)
        os.kill(server.pid, signal.Signals[name])
        gate.set()
        assert server._process is not None
        assert server._process.wait(PATIENCE_S) == 0
        assert "stopping: running tasks may finish" in server.log_text()
        server.start()
        task = client.get_task(task_id)

    assert (task.status, task.attempt) == (Status.COMPLETED, 1)


class UnderNohup(QueueServer):
    def command(self) -> list[str | Path]:
        return ["nohup", *super().command()]


def test_under_nohup_a_hang_up_is_nothing(tmp_path: Path) -> None:
    with FakeOllama() as model, UnderNohup(tmp_path, model.url) as server:
        os.kill(server.pid, signal.SIGHUP)
        with server.client() as client:
            client.get_queue_stats()
            client.wait(client.submit_task(generate_task("m", "x")), timeout=PATIENCE_S)
        assert "stopping" not in server.log_text()


INTERRUPTS = """
import _signal, signal, sys

left = int(sys.argv.pop(1))

def count(frame, event, arg):
    global left
    left -= 1
    if left == 0:
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
    return count

signal.signal(signal.SIGINT, signal.default_int_handler)
reset = _signal.signal

def began(*args):
    _signal.signal = reset
    reset(*args)
    sys.settrace(count)

_signal.signal = began
import ollama_queue.http.serving.serve
"""


@pytest.mark.parametrize("lines", [1, 100, 3000, 10_000, 30_000, 100_000])
def test_ctrl_c_while_modules_load_is_no_traceback(tmp_path: Path, lines: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTS, str(lines)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        cwd=tmp_path,
        timeout=PATIENCE_S,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")


def test_a_server_whose_messages_nobody_reads_stops_as_well(tmp_path: Path) -> None:
    options = ["--port", "0", "--ollama-host", "http://127.0.0.1:9"]
    with subprocess.Popen(
        [sys.executable, "-m", "ollama_queue.http.serving.serve", *options],
        env={"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stderr is not None
        while b" on http://127.0.0.1:" not in process.stderr.readline():
            assert process.poll() is None
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_settings_are_listed_in_any_encoding(tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "ollama_queue.http.serving.serve",
            "--check-config",
            "--data-dir",
            "a 😀 é",
        ],
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        cwd=tmp_path,
        encoding="cp1252",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert r"a \ud83d\ude00 é" in ended.stdout
