"""A program that ends without `close`: not a word, and what ran waits for the next start.

From 3.12 on, no thread can be started any more once the main thread has ended.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import QueueManager
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.servers.real_models import ROOT

PROGRAM = """
import os, queue, signal, sys, threading, time
from ollama_queue import QueueManager, generate_task

manager = QueueManager(storage_path={folder!r}, ollama_host={url!r}, max_workers=1).start()
events = manager.subscribe("task_started")
manager.submit_task(generate_task("smollm2", "hang"))
manager.submit_task(generate_task("smollm2", "hang"))
events.get(10)
"""


@pytest.fixture
def fake_ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


ENDS = {
    "falling off the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "a Ctrl-C": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "os._exit": ("os._exit(3)", 3),
    "a thread that has called sys.exit": ("threading.Thread(target=sys.exit).start()", 0),
}

# Goes on in a thread of its own for as long as the queue needs to hear of a wake-up and a look.
LONGER = """
def work():
    threading.main_thread().join()
    manager.pause()
    manager.cancel_tasks(filter={})
    manager.resume()
    task = manager.submit_task(generate_task("smollm2", "once", timeout_s=60))
    print(manager.wait(task, timeout=20).status)

threading.Thread(target=work).start()
"""


def ended(fake: FakeOllama, folder: Path, rest: str) -> subprocess.CompletedProcess[str]:
    fake.script(Hang())
    program = PROGRAM.format(folder=str(folder), url=fake.url) + rest
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, cwd=ROOT, text=True, timeout=30)


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_while_a_task_runs_says_nothing_and_the_task_waits(
    end: str, fake_ollama: FakeOllama, tmp_path: Path
) -> None:
    rest, code = ENDS[end]

    program = ended(fake_ollama, tmp_path, rest)

    assert program.returncode == code
    assert program.stderr == "" or program.stderr.endswith("\nKeyboardInterrupt\n")
    with QueueManager(storage_path=str(tmp_path), ollama_host="127.0.0.1:9") as queue:
        left = queue.list_tasks({"status": ["pending", "running"]})
    assert len(left) == 2


def test_a_thread_that_outlives_the_main_one_has_the_queue_to_its_end(
    fake_ollama: FakeOllama, tmp_path: Path
) -> None:
    program = ended(fake_ollama, tmp_path, LONGER)

    assert (program.returncode, program.stdout, program.stderr) == (0, "completed\n", "")
