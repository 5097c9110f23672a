"""Two queues live side by side in one process, each with a folder of its own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ollama_queue import NotFound, QueueManager, Status, Unavailable
from tests.support.harness.doors import PATIENCE_S, EmbeddedDoor, ask
from tests.support.servers.real_models import ROOT


def test_two_queues_do_not_know_of_each_other(tmp_path: Path) -> None:
    doors = [EmbeddedDoor("QueueManager", tmp_path / name) for name in ("one", "two")]
    one, two = (door.queue for door in doors)
    one.pause()

    held = one.submit_task(ask("held"))
    with ThreadPoolExecutor(4) as users:
        ids = list(users.map(lambda n: two.submit_task(ask(str(n))), range(20)))
    for task_id in ids:
        assert two.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED

    assert one.get_task_status(held) is Status.PENDING
    assert (len(doors[0].fake.calls), len(doors[1].fake.calls)) == (0, 20)
    with pytest.raises(NotFound):
        two.get_task(held)
    for door in doors:
        door.close()


def test_closing_one_leaves_the_other(tmp_path: Path) -> None:
    one, two = (EmbeddedDoor("QueueManager", tmp_path / name) for name in ("one", "two"))
    one.close()

    assert two.run(ask()).status is Status.COMPLETED
    with pytest.raises(Unavailable):
        one.queue.get_queue_stats()
    two.close()


def test_the_same_folder_is_refused_and_free_after_closing(tmp_path: Path) -> None:
    one = EmbeddedDoor("QueueManager", tmp_path)
    task_id = one.run(ask()).id
    two = QueueManager(one.manager.config)

    with pytest.raises(Unavailable, match="in use by this process: use the QueueManager"):
        two.start()
    assert one.run(ask()).status is Status.COMPLETED
    one.close()

    with two:
        assert two.get_task_status(task_id) is Status.COMPLETED


def test_a_queue_may_be_opened_again_and_again(tmp_path: Path) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    ids = []
    for _ in range(5):
        ids.append(door.run(ask()).id)
        door.manager.close(grace_s=0)
        door.manager.start()

    assert [task.id for task in door.queue.list_tasks()] == ids[::-1]
    door.close()


def test_a_stopped_queue_may_be_started_again(tmp_path: Path) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path)
    door.manager.stop(grace_s=0)
    with pytest.raises(Unavailable):
        door.queue.get_queue_stats()

    door.manager.start()
    assert door.run(ask()).status is Status.COMPLETED
    door.close()


@pytest.mark.parametrize("halves,works", [("thread=False", False), ("", True)])
def test_a_library_that_is_patched_by_halves_is_told(
    tmp_path: Path, halves: str, works: bool
) -> None:
    program = f"""
from gevent import monkey
monkey.patch_all({halves})
from ollama_queue import QueueManager, Unavailable, generate_task
try:
    with QueueManager(storage_path={str(tmp_path)!r}, ollama_host="127.0.0.1:9") as queue:
        print(queue.get_task_status(queue.submit_task(generate_task("m", "hi"))))
except Unavailable as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=60
    )

    assert ended.returncode == 0, ended.stderr
    assert ("monkey.patch_all() without thread=False" in ended.stdout) is not works
    assert ("pending" in ended.stdout) is works
