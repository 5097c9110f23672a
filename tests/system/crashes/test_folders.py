"""A folder that moves, vanishes or is exchanged under a queue, and one that lacks what it held."""

import os
import random
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from ollama_queue import Config, QueueError, QueueManager, Unavailable, generate_task
from ollama_queue.actors.base.thread_pool import ThreadPool
from ollama_queue.actors.core.config import config
from ollama_queue.actors.executors import create_executor
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.supervision.generation import Runtime
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.crashes.test_kill9 import KILLS, SEED, Load, behave

PATIENCE_S = 20.0


@pytest.fixture
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as made:
        yield made


class FolderServer:
    """A paused queue in a folder of its own, and what it says when it gives up."""

    def __init__(self, folder: str, durability: str = "strict") -> None:
        self.fatal: Future[str] = Future()
        pools = lambda: (ThreadPool("sync"), ThreadPool("scan"))  # noqa: E731
        runtime = Runtime(pools, create_executor, self.fatal.set_result)
        settings = Config(queue=config.QueueSettings(storage_path=folder, durability=durability))  # type: ignore[arg-type]
        self.queue = QueueManager(settings, runtime=runtime)

    def __enter__(self) -> "FolderServer":
        self.queue.start()
        self.queue.pause()
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close(grace_s=0)

    def submit(self, count: int) -> set[str]:
        return {self.queue.submit_task(generate_task("m", str(n))) for n in range(count)}

    def ids(self) -> set[str]:
        return {task.id for task in self.queue.list_tasks()}


# --- os.chdir -----------------------------------------------------------------------------------


def test_a_relative_folder_stays_where_it_was_when_the_program_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    house = FolderServer("./data")
    monkeypatch.chdir(tmp_path / "there")  # before it is opened, too
    with house:
        taken = house.submit(3)
        monkeypatch.chdir(tmp_path)
        taken |= house.submit(3)
    with house:  # closing has written tables, and opening has read them
        assert house.ids() == taken

    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]
    assert not any((tmp_path / "there").iterdir())


# --- a folder that is gone ----------------------------------------------------------------------


def gone(house: FolderServer, folder: Path) -> None:
    """Nothing is taken on any more, and it says so in one sentence that names the folder."""
    with pytest.raises(QueueError):
        house.submit(1)
    reason = house.fatal.result(PATIENCE_S)
    assert reason.startswith(f"the folder {folder} has been removed or replaced while the queue")
    with pytest.raises(Unavailable, match=r"has stopped: the folder .* has been removed"):
        house.submit(1)


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_a_removed_folder_stops_the_queue(tmp_path: Path, durability: str) -> None:
    folder = tmp_path / "data"
    with FolderServer(str(folder), durability) as house:
        house.submit(3)
        shutil.rmtree(folder)
        gone(house, folder)
        assert not folder.exists()


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_nothing_is_acknowledged_in_another_folder_or_written_there(
    tmp_path: Path, durability: str
) -> None:
    folder = tmp_path / "data"
    with FolderServer(str(tmp_path / "other")) as other:
        theirs = other.submit(2)
    with FolderServer(str(folder), durability) as house:
        ours = house.submit(3)
        folder.rename(tmp_path / "moved")
        shutil.copytree(tmp_path / "other", folder)  # as when something else is mounted there
        before = {path.name: path.stat().st_size for path in folder.rglob("*")}
        gone(house, folder)
    assert {path.name: path.stat().st_size for path in folder.rglob("*")} == before

    for name, taken in ("moved", ours), ("other", theirs):
        shutil.copytree(tmp_path / name, tmp_path / f"{name}-copy")
        with FolderServer(str(tmp_path / f"{name}-copy")) as again:
            assert taken <= again.ids()


def test_a_journal_that_is_removed_under_a_queue_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with FolderServer(str(folder)) as house:
        taken = house.submit(3)
        for journal in (folder / "rocksdb").glob("*.log"):
            journal.unlink()
        with pytest.raises(Unavailable):
            house.submit(1)
        over = threading.Event()
        while not over.wait(0.01):
            with suppress(Unavailable):
                taken |= house.submit(1)
                over.set()
        assert taken <= house.ids()
    with house:
        assert taken <= house.ids()
    assert not house.fatal.done()


def test_a_server_whose_folder_is_removed_ends_with_the_reason(
    tmp_path: Path, model: FakeOllama
) -> None:
    with QueueServer(tmp_path, model.url) as server, server.client() as client:
        client.pause()
        client.submit_task(generate_task("m", "x"))
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(QueueError):
            client.submit_task(generate_task("m", "y"))

        assert server._process is not None
        assert server._process.wait(PATIENCE_S) == 70
        last = server.log_text().splitlines()[-1]
        assert last.startswith(f"ollama-queue-server: the folder {tmp_path}/data has been removed")
        assert not (tmp_path / "data").exists()


# --- a folder that lacks what it held -----------------------------------------------------------


class Accepting(QueueServer):
    accepts = False

    def command(self) -> list[str | Path]:
        return [*super().command(), *(["--accept-loss"] if self.accepts else [])]


def test_a_server_that_lacks_acknowledged_tasks_asks_before_it_starts(
    tmp_path: Path, model: FakeOllama
) -> None:
    server = Accepting(tmp_path, model.url)
    with server:
        with server.client() as client:
            client.pause()
            client.submit_task(generate_task("m", "x"))
        server.kill()
        (journal,) = (tmp_path / "data" / "rocksdb").glob("*.log")
        os.truncate(journal, 0)

        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"has been removed or cut: .* --accept-loss"):
                server.start()
            assert server._process is not None and server._process.wait() == 1
            server._process = None
        server.accepts = True
        server.start()
        server.accepts = False
        server.kill()
        server.start()
        with server.client() as client:
            assert client.list_tasks() == []
        os.kill(server.pid, signal.SIGTERM)


def test_an_embedded_queue_is_told_the_same(tmp_path: Path) -> None:
    with FolderServer(str(tmp_path / "data")) as house:
        house.submit(2)
    shutil.rmtree(tmp_path / "data" / "rocksdb")
    with pytest.raises(Unavailable, match=r"in Python accept_loss=True\), which starts"):
        house.queue.start()

    with QueueManager(storage_path=tmp_path / "data", accept_loss=True) as queue:
        assert queue.list_tasks() == []
        queue.pause()
        task_id = queue.submit_task(generate_task("m", "x"))
    with house:
        assert house.ids() == {task_id}


def test_after_a_kill_and_any_harm_all_is_there_or_it_is_refused(tmp_path: Path) -> None:
    """Kills at random: a copy that nobody has touched opens, harmed ones tell the truth."""
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED), {KILLS} kills (OLLAMA_QUEUE_KILLS)")
    chance, refused = random.Random(SEED), 0
    with FakeOllama(behave) as model, QueueServer(tmp_path, model.url) as server:
        load = Load(server.base_url, SEED + 1)
        users = [threading.Thread(target=load.user, args=(n,)) for n in range(3)]
        for user in users:
            user.start()
        try:
            for number in range(KILLS // 4):
                assert load.some.wait(PATIENCE_S), server.log_text()[-2000:]
                load.over.wait(chance.uniform(0.0, 0.4))
                server.kill()
                with load.lock:
                    acknowledged = set(load.acknowledged)
                load.some.clear()
                whole = tmp_path / f"killed-{number}"
                shutil.copytree(tmp_path / "data", whole)
                server.start()
                assert harmed(whole, None, chance) >= acknowledged
                for path in sorted(path for path in whole.rglob("*") if path.is_file()):
                    try:
                        assert harmed(whole, path, chance) >= acknowledged, path.name
                    except Exception as error:
                        assert isinstance(error, Unavailable) or "orrupt" in str(error), error
                        refused += 1
                shutil.rmtree(whole)
        finally:
            load.over.set()
            for user in users:
                user.join()
    print(f"{refused} refused, {len(load.acknowledged)} acknowledged")
    assert refused


def harmed(whole: Path, victim: Path | None, chance: random.Random) -> set[str]:
    """The tasks that are left in a copy in which one file is removed, cut or emptied."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where syncs cost nothing
    with tempfile.TemporaryDirectory(dir=base) as name:
        copy = Path(name) / "data"
        shutil.copytree(whole, copy)
        if victim is not None:
            path = copy / victim.relative_to(whole)
            size = path.stat().st_size
            if chance.random() < 0.3:
                path.unlink()
            else:
                os.truncate(path, chance.choice([0, size // 2, max(size - 1, 0)]))
        store = Store(str(copy), None)
        try:
            store.recover()
            (found,) = store.snapshots("tasks")
            return {key.decode() for key, _ in found.between(b"", b"g")}
        finally:
            found = None
            store.close()


# --- who may read it ----------------------------------------------------------------------------


def test_what_a_server_writes_is_private(tmp_path: Path, model: FakeOllama) -> None:
    server = QueueServer(tmp_path, model.url)
    with server.config.open("a") as settings:
        settings.write(f"logging: {{file: {tmp_path}/logs/queue.log}}\n")
    with server, server.client() as client:
        client.wait(client.submit_task(generate_task("m", "x")), timeout=PATIENCE_S)
        written = [tmp_path / "logs" / "queue.log", *(tmp_path / "data").rglob("*")]
        assert len(written) > 8
        assert [path for path in written if path.stat().st_mode & 0o077] == []
        assert not (tmp_path / "data").stat().st_mode & 0o077
