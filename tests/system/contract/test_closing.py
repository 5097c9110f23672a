"""A queue that is closed while tasks run: who waits for how long, and how to wait no longer."""

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Status
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.harness.doors import PATIENCE_S, EmbeddedDoor
from tests.support.servers.real_models import ROOT

LONG_S = 3600.0


class Heard(logging.Handler):
    """Whether a line has been logged that says who is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.stopping = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("stopping: "):
            self.lines.append(record.getMessage())
            self.stopping.set()


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logger = logging.getLogger("ollama_queue")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_second_close_shortens_the_first(tmp_path: Path, heard: Heard) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    task_id = door.busy()
    first = threading.Thread(target=door.manager.close, kwargs={"grace_s": LONG_S})
    first.start()
    assert heard.stopping.wait(PATIENCE_S)

    door.manager.close(grace_s=0)
    first.join(PATIENCE_S)

    assert not first.is_alive()
    assert heard.lines == ["stopping: 1 running task has up to 3600 s to end; Ctrl-C stops at once"]
    door.manager.start()
    assert door.manager.get_task(task_id).status is not Status.FAILED
    door.close()


def test_a_second_close_never_lengthens_the_first(tmp_path: Path, heard: Heard) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    door.busy()
    first = threading.Thread(target=door.manager.close, kwargs={"grace_s": 1.0})
    first.start()
    assert heard.stopping.wait(PATIENCE_S)

    door.manager.close(grace_s=LONG_S)
    first.join(PATIENCE_S)

    assert not first.is_alive()
    door.close()


@pytest.mark.parametrize("grace_s", [0, LONG_S])
def test_nothing_is_said_where_nobody_waits(tmp_path: Path, heard: Heard, grace_s: float) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    if not grace_s:
        door.busy()
    door.manager.close(grace_s=grace_s)

    assert heard.lines == []
    door.close()


PROGRAM = """
from ollama_queue import QueueManager, generate_task
queue = QueueManager(ollama_host={url!r}, storage_path={folder!r}).start()
try:
    queue.wait(queue.submit_task(generate_task("m", "hi")))
finally:
    queue.close(grace_s=3600)
"""


def test_a_second_ctrl_c_waits_no_longer(tmp_path: Path) -> None:
    with FakeOllama(Hang()) as fake:
        text = PROGRAM.format(url=fake.url, folder=str(tmp_path / "data"))
        process = subprocess.Popen(
            [sys.executable, "-c", text], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        fake.wait_for_calls(1, timeout=PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert any(line.startswith("stopping: 1 running task") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert "without finishing" not in said
