"""A full disk, for real: on a small file system of its own that is filled up and freed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Config, QueueManager, Status, Unavailable, generate_task
from ollama_queue.actors.core.config import config
from ollama_queue.actors.supervision import system
from tests.support.fakes.model_server import Behaviour, FakeOllama, Stream
from tests.support.servers.queue_server import QueueServer
from tests.support.small_disk import MIB, SmallDisk
from tests.system.crashes.test_kill9 import Load, all_tasks, behave

PATIENCE_S = 20.0
CRON = {
    "name": "n",
    "cron_expr": "@daily",
    "task_template": {"type": "generate", "model": "m", "payload": {"prompt": "x"}},
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    (tmp_path / "disk").mkdir()
    made = SmallDisk(tmp_path / "disk", 96)
    yield made
    made.close()


@contextmanager
def opened(disk: SmallDisk, model: FakeOllama) -> Iterator[QueueManager]:
    settings = Config(
        ollama=config.OllamaSettings(host=model.url),
        queue=config.QueueSettings(storage_path=str(disk.folder / "data"), max_workers=2),
    )
    with QueueManager(settings) as queue:
        yield queue


def test_with_little_room_nothing_is_taken_on_and_all_else_goes_on(disk: SmallDisk) -> None:
    gate = threading.Event()
    with FakeOllama(lambda _: Stream(gate=gate)) as model, opened(disk, model) as queue:
        running, waiting, last = (queue.submit_task(generate_task("m", str(n))) for n in range(3))
        disk.fill(but=16)

        for refused in (queue.submit_task, lambda task: queue.submit_batch([task])):
            with pytest.raises(Unavailable, match=r"^the disk is full: /.* MiB of free space"):
                refused(generate_task("m", "one more"))
        assert len(queue.list_tasks()) == 3
        assert queue.add_cron_task(CRON)
        assert queue.cancel_task(last).status is Status.CANCELLED
        gate.set()
        for task_id in (running, waiting):
            assert queue.wait(task_id, timeout=PATIENCE_S).status is Status.COMPLETED

        disk.free()
        assert queue.wait(queue.submit_task(generate_task("m", "more")), timeout=PATIENCE_S)


def test_a_batch_that_is_too_large_for_the_disk_is_refused(disk: SmallDisk) -> None:
    with FakeOllama(lambda _: Stream()) as model, opened(disk, model) as queue:
        with pytest.raises(Unavailable, match="the disk is full"):
            queue.submit_batch([generate_task("m", "x" * MIB)] * 40)
        assert queue.submit_batch([generate_task("m", "x" * MIB)] * 3)


def test_a_file_that_is_too_large_for_the_disk_is_refused(disk: SmallDisk) -> None:
    with FakeOllama(lambda _: Stream()) as model, opened(disk, model) as queue:
        with queue.new_file() as file:
            file.write(bytes(MIB))
            kept = file.save("a", "batch")
        with (
            pytest.raises(Unavailable, match=r"^the disk is full: /.* MiB of free space"),
            queue.new_file() as file,
        ):
            for _ in range(96):
                file.write(bytes(MIB))
        _, reader = queue.read_file(kept.id)
        assert b"".join(reader) == bytes(MIB)
        reader.close()
        assert queue.list_files(10).files == [kept]
        assert queue.submit_task(generate_task("m", "there is room again"))


def test_on_a_full_disk_reads_go_on_and_no_task_is_lost(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(system, "FIRST_LOOK_S", 0.05)
    monkeypatch.setattr(system, "LAST_LOOK_S", 0.1)
    gate = threading.Event()

    def answer(body: dict[str, Any]) -> Behaviour:
        assert gate.wait(PATIENCE_S)
        return Stream()

    with FakeOllama(answer) as model, opened(disk, model) as queue:
        taken = [queue.submit_task(generate_task("m", str(number))) for number in range(20)]
        cron_id = queue.add_cron_task(CRON)
        with queue.new_file() as new:
            file = new.save("a", "batch")
        before = queue._switchboard.current()
        disk.fill()
        gate.set()
        queue._switchboard.after(before, PATIENCE_S)

        assert {task.id for task in queue.list_tasks()} == set(taken)
        stats = queue.get_queue_stats()
        assert (stats.total_tasks, stats.workers_active, stats.workers_idle) == (20, 0, 0)
        assert stats.pending_tasks and stats.waiting_for
        assert queue.get_task(taken[-1]).position
        assert queue.get_cron_task(cron_id).name == queue.list_cron_tasks()[0].name == "n"
        assert queue.list_files(10).files == [file]
        with pytest.raises(Unavailable, match="the disk is full"):
            queue.delete_file(file.id)
        for verb in (queue.cancel_task, queue.delete_task, queue.retry_task):
            with pytest.raises(Unavailable, match="the disk is full"):
                verb(taken[-1])
        disk.free()

        ended = [queue.wait(task_id, timeout=PATIENCE_S) for task_id in taken]
        assert {task.status for task in ended} == {Status.COMPLETED}
        assert queue.submit_task(generate_task("m", "more"))
    said = [r.message for r in caplog.records if "until then the queue is read-only" in r.message]
    assert len(said) == 1


def test_kill_nine_on_a_full_disk(disk: SmallDisk, tmp_path: Path) -> None:
    with FakeOllama(behave) as model:
        server = QueueServer(disk.folder / "server", model.url)
        server.log = tmp_path / "server.log"
        load = Load(server.base_url, 1)
        users = [threading.Thread(target=load.user, args=(number,)) for number in range(3)]
        with server:
            for user in users:
                user.start()
            try:
                for _ in range(2):
                    load.some.clear()
                    assert load.some.wait(PATIENCE_S)
                    disk.fill()
                    load.over.wait(1.0)
                    server.kill()
                    with pytest.raises(RuntimeError, match="the disk is full: make room"):
                        server.start()
                    server._process = None
                    disk.free()
                    server.start()
            finally:
                load.over.set()
                for user in users:
                    user.join()
            with server.client() as client:
                for task_id in load.acknowledged:
                    assert client.wait(task_id, timeout=60).status.is_final
                assert load.acknowledged <= all_tasks(client).keys()
