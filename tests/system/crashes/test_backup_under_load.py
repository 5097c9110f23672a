"""Backups of a server under load and under `kill -9` have all that was acknowledged before."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from msgspec import Struct

from ollama_queue import Client, Status
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT
from tests.system.crashes.test_kill9 import Load, all_tasks, behave, check_finals

BACKUPS = int(os.environ.get("OLLAMA_QUEUE_BACKUPS", "1"))
SEED = int(os.environ.get("OLLAMA_QUEUE_SEED", random.randrange(1 << 32)))
WORKERS = 4


def command(*words: str | Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "ollama_queue.http.serving.serve", *words]
    return subprocess.Popen(
        program,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*words: str | Path) -> str:
    """Run a command to its end. Returns what it prints; its exit code must be 0."""
    process = command(*words)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


class Known(Struct):
    """What users had been told when a backup began."""

    acknowledged: set[str]
    cancelled: dict[str, int]
    ended: dict[str, Status]


def known(load: Load, client: Client) -> Known:
    with load.lock:
        told = Known(set(load.acknowledged), dict(load.cancelled), {})
    check_finals(told.ended, all_tasks(client))
    return told


def check(folder: Path, told: Known, model: FakeOllama) -> None:
    """Restore a backup: its queue has all that was known, and ends all that had not ended."""
    print(run("verify", folder))
    restored = folder.with_name(f"{folder.name}-restored")
    run("restore", folder, restored / "data")
    with QueueServer(restored, model.url, workers=WORKERS) as server, server.client() as client:
        tasks, seen = all_tasks(client), dict(told.ended)  # two backups share what was told
        assert told.acknowledged <= tasks.keys(), "acknowledged, and lost"
        check_finals(seen, tasks)
        ended = {task_id: client.wait(task_id, timeout=60) for task_id in tasks}
        check_finals(seen, ended)
        for task_id, attempts in told.cancelled.items():
            assert ended[task_id].status is Status.CANCELLED
            assert ended[task_id].attempt == attempts, "started after its cancel"
        stats = client.get_queue_stats()
        for status in Status:
            counted = sum(task.status is status for task in ended.values())
            assert getattr(stats, f"{status}_tasks") == counted
    run("verify", restored / "data")


def test_backups_under_load(tmp_path: Path) -> None:
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED), {BACKUPS} backups (OLLAMA_QUEUE_BACKUPS)")
    chance = random.Random(SEED)
    data, made = tmp_path / "first" / "data", dict[Path, Known]()
    with (
        FakeOllama(behave) as model,
        QueueServer(tmp_path / "first", model.url, workers=WORKERS) as server,
    ):
        load = Load(server.base_url, SEED + 1)
        users = [threading.Thread(target=load.user, args=(n,)) for n in range(3)]
        for user in users:
            user.start()
        try:
            for number in range(BACKUPS):
                assert load.some.wait(30), server.log_text()[-2000:]
                with server.client() as client:
                    told = known(load, client)
                target = tmp_path / f"backup{number}"
                run("backup", target, "--data-dir", data)
                made[target] = told
                # Another one, in whose middle the server is killed: whole, or not there.
                cut = tmp_path / f"cut{number}"
                with server.client() as client:
                    told = known(load, client)
                process = command("backup", cut, "--data-dir", data)
                load.over.wait(chance.uniform(0.5, 3.0))
                server.kill()
                output, _ = process.communicate(timeout=120)
                assert cut.exists() is (process.returncode == 0), output
                if cut.exists():
                    made[cut] = told
                load.some.clear()
                server.start()
        finally:
            load.over.set()
            for user in users:
                user.join()
        print(f"{len(load.acknowledged)} acknowledged, {len(made)} backups")
        server.stop()
        assert {path.name for path in tmp_path.iterdir()} == {"first", *(p.name for p in made)}
        run("backup", tmp_path / "stopped", "--data-dir", data)
        made[tmp_path / "stopped"] = told
        for folder, told in made.items():
            check(folder, told, model)
