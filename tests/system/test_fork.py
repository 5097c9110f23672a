"""After a fork the queue stays with the parent: its threads and locks do not come along."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ollama_queue import QueueManager, Status, Unavailable
from tests.servers import ROOT
from tests.system.entrance import VERBS, Door, ask


def in_child(act: Callable[[], Any]) -> str:
    """What `act` says in a forked child."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(act())
        except BaseException:
            text = traceback.format_exc()
        os.write(into, text.encode())
        os._exit(0)  # the child of a test must not run pytest's end
    os.close(into)
    with os.fdopen(out) as reading:
        text = reading.read()
    os.waitpid(child, 0)
    return text


def test_in_a_child_every_verb_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    door = Door("QueueManager", tmp_path)
    queue = door.manager
    before = queue.submit_task(ask())
    verbs: list[Callable[[Any], Any]] = [
        *VERBS,
        lambda queue: queue.stream_task(before),
        lambda queue: queue.subscribe(),
        lambda queue: queue.start(),
        lambda queue: queue.close(),
    ]

    def use_all() -> set[str]:
        answers = set()
        for verb in verbs:
            try:
                answers.add(f"answered {verb(queue)}")
            except Unavailable as error:
                answers.add(error.message)
        return answers

    said = in_child(use_all)

    words = f"this queue was opened in process {os.getpid()}; "
    assert said == str({words + "use Client here, or open it after the fork"})
    assert queue.wait(before, timeout=10).status is Status.COMPLETED
    assert door.run(ask()).status is Status.COMPLETED
    door.close()


def test_a_child_of_a_process_with_a_queue_cannot_open_another(tmp_path: Path) -> None:
    """RocksDB's threads are one set for all stores of a process, and a fork leaves them behind."""
    door = Door("QueueManager", tmp_path / "parent")

    def open_another() -> str:
        try:
            QueueManager(storage_path=str(tmp_path / "child")).start()
        except Unavailable as error:
            return error.message
        return "opened"

    said = in_child(open_another)

    assert f"process {os.getpid()}, which this one was forked from, has opened a queue" in said
    door.close()


def test_a_child_that_was_forked_before_opens_a_queue_of_its_own(tmp_path: Path) -> None:
    program = f"""
import os
from ollama_queue import QueueManager, generate_task

child = os.fork() == 0
queue = QueueManager(storage_path={str(tmp_path)!r} + "/" + str(child), ollama_host="127.0.0.1:9")
with queue:
    queue.pause()
    queue.submit_task(generate_task("m", "hi"))
    os.write(1, b"%d " % queue.get_queue_stats().total_tasks)
if not child:
    os.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=20
    )

    assert (ended.returncode, ended.stdout.split()) == (0, ["1", "1"]), ended.stderr
