"""The shell scripts and files in docs/examples do what they show."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Client, generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT, model_server

EXAMPLES = ROOT / "docs" / "examples"
WAYS = [
    line
    for line in (EXAMPLES / "server.sh").read_text().splitlines()
    if line and not line.startswith("#")
]


class Started:
    """A server that an example starts, on a port of its own."""

    def __init__(self, words: list[str], environment: dict[str, str], folder: Path) -> None:
        self.reserved = model_server.ReservedPort()
        self.port = self.reserved.number
        self.words = [*words, "--port", str(self.port)]
        self.environment, self.folder = environment, folder
        self.said = ""

    def __enter__(self) -> Client:
        self.process = subprocess.Popen(
            self.words, env=self.environment, cwd=self.folder, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        while "Ollama Queue " not in self.said:
            self.said = self.process.stderr.readline()
            assert self.said, "the server ended before it began"
        return Client(f"127.0.0.1:{self.port}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


def run_script(name: str, environment: dict[str, str], folder: Path) -> list[str]:
    done = subprocess.run(
        ["bash", EXAMPLES / name],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def plain(environment: dict[str, str]) -> dict[str, str]:
    """Without the servers of this test: what a script exports must be enough."""
    ours = ("OLLAMA_HOST", "OLLAMA_QUEUE_SERVER")
    return {name: value for name, value in environment.items() if name not in ours}


def test_the_command_line(environment: dict[str, str], server: QueueServer, tmp_path: Path) -> None:
    printed = run_script("command_line.sh", environment, tmp_path)

    with server.client() as queue:
        tasks = queue.list_tasks()
    by_title: dict[str, list[Any]] = {}
    for task in reversed(tasks):
        by_title.setdefault(task.title, []).append(task)
    assert by_title["Hello, how are you?"][0].priority == 10
    assert printed[3:5] == ["Hello!", "Hello!"]  # --wait, and --stream
    assert len(by_title["A text that becomes a vector"]) == 3  # three batches
    assert sum(line.endswith("  completed  Hello!") for line in printed) == 2  # --sync
    (answer,) = (line for line in printed if line.startswith("{"))
    assert set(json.loads(answer)) == {"batch_id", "task_ids"}  # --output json
    first, second = by_title["Good morning!"]
    assert (first.status, first.priority) == ("cancelled", 10)
    assert second.status == "cancelled"
    assert printed[-3:] == [
        f"{first.id}  pending  priority 10",
        f"{first.id}  cancelled",
        f"{second.id}  cancelled",
    ]


def test_crons(environment: dict[str, str], server: QueueServer, tmp_path: Path) -> None:
    printed = run_script("cron.sh", environment, tmp_path)

    assert len(printed[:5]) == 5 and all("T09:00+00:00" in line for line in printed[:5])
    with server.client() as queue:
        crons = queue.list_cron_tasks()
    assert [(cron.name, cron.cron_expr, cron.enabled) for cron in crons] == [
        ("Hourly", "0 * * * *", False),
        ("Plan", "0 9 * * 1-5", False),
        ("Mondays", "30 8 * * 1", False),
        ("Quarters", "*/15 * * * *", False),
    ]
    assert printed[-1].endswith("  removed")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_start_a_server(way: str, plain: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "config.yaml", tmp_path)
    started = Started(shlex.split(way), plain, tmp_path)

    with started as client, client:
        assert client.get_queue_stats().total_tasks == 0

    folder = "my-queue-data" if "--data-dir" in way else "data"
    assert (tmp_path / folder / "sentinel").exists()
    host = "192.168.1.100" if "--ollama-host" in way else "localhost"
    assert f"at http://{host}:11434" in started.said
    assert ("--config" in way) == (tmp_path / "ollama-queue.log").exists()
    assert ("0.0.0.0" in way) == ("http://0.0.0.0:" in started.said)


def test_settings_by_the_environment(plain: dict[str, str], tmp_path: Path) -> None:
    started = Started(["bash", str(EXAMPLES / "environment.sh")], plain, tmp_path)

    with started as client, client:
        later = "2099-01-01T00:00:00Z"
        task_id = client.submit_task(generate_task("qwen3", "hi", scheduled_at=later))
        assert client.get_task(task_id).max_retries == 5
        assert client.get_queue_stats().workers_idle == 6

    assert (tmp_path / "my-queue-data").is_dir()
    assert "at http://localhost:11434" in started.said


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        ("OLLAMA_HOST", "ftp://gpu"),
        ("QUEUE_MAX_WORKERS", "many"),
        ("RETRY_MAX_RETRIES", "-1"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, wrong: str, plain: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["ollama-queue-server", "--port", "0"],
        env={**plain, variable: wrong},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert f"environment variable {variable}: " in done.stderr


def test_the_batch_file_has_each_form_of_a_priority(
    environment: dict[str, str], model: FakeOllama, server: QueueServer
) -> None:
    given = json.loads((EXAMPLES / "tasks.json").read_text())
    done = subprocess.run(
        ["ollama-queue", "submit", "batch", "--file", EXAMPLES / "tasks.json", "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert [task["priority"] for task in given] == [15, "high", 1]
    with server.client() as queue:
        tasks = [queue.wait(task_id, timeout=30) for task_id in done.stdout.split()]
    assert [task.type for task in tasks] == ["chat", "generate", "embed"]
    assert [task.priority for task in tasks] == [15, 10, 1]
    assert all(task.status == "completed" for task in tasks)
    assert tasks[0].scheduled_at is not None  # it is past: the task ran at once
    assert tasks[1].payload == {
        "prompt": given[1]["prompt"],
        "system": "Answer with code alone",
    }


def test_each_file_is_tried_out() -> None:
    known = {"tasks.json", "scheduled.jsonl", "config.yaml", "README.md"}
    known |= {"command_line.sh", "cron.sh", "server.sh", "environment.sh"}

    assert {path.name for path in EXAMPLES.iterdir() if path.suffix not in (".py", "")} == known
