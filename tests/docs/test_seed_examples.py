"""Each program in docs/examples is run, and does what its first line says."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ollama_queue
import ollama_queue.testing
from ollama_queue import Client
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

EXAMPLES = ROOT / "docs" / "examples"
PROGRAMS = {path.stem: path for path in sorted(EXAMPLES.glob("*.py"))}
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Shell:
    """Runs the examples in a folder of their own, and keeps what they print."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.code = 0
        self.errors = ""

    def run(self, name: str) -> str:
        done = subprocess.run(
            [sys.executable, PROGRAMS[name]],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.code, self.errors = done.returncode, done.stderr
        return done.stdout


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path)


def ids_in(text: str) -> list[str]:
    return re.findall(ID, text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_only_public_names_are_used(name: str) -> None:
    tree = ast.parse(PROGRAMS[name].read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("ollama_queue")]

    assert {node.module for node in ours} <= {"ollama_queue", "ollama_queue.testing"}
    public = {*ollama_queue.__all__, *ollama_queue.testing.__all__}
    assert {alias.name for node in ours for alias in node.names} <= public


def test_your_program(environment: dict[str, str], tmp_path: Path) -> None:
    program = shutil.copy(PROGRAMS["test_your_program"], tmp_path)
    del environment["OLLAMA_HOST"], environment["OLLAMA_QUEUE_SERVER"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", program],
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert os.listdir(tmp_path) == ["test_your_program.py"]


def test_http_client(shell: Shell, server: QueueServer) -> None:
    printed = shell.run("http_client")

    assert re.fullmatch(rf"Task submitted: {ID}\nTask status: (running|completed)\n", printed)
    with server.client() as queue:
        task = queue.wait(ids_in(printed)[0], timeout=30)
    assert (task.status, task.priority, task.model) == ("completed", 10, "qwen3")


def test_waiting(shell: Shell) -> None:
    assert shell.run("waiting") == "Task completed: Hello!\n"
    assert shell.code == 0


def test_waiting_for_a_task_that_fails(shell: Shell, model: FakeOllama) -> None:
    model.script(Answer(400, {"error": "no such option"}))

    assert shell.run("waiting") == ""
    assert shell.code == 1
    assert shell.errors.startswith("Task failed: ")
    assert shell.errors.endswith("no such option\n")


def test_embedded(shell: Shell) -> None:
    printed = shell.run("embedded")

    assert re.fullmatch(rf"Task submitted: {ID}\nTask completed: Hello!\n", printed)
    assert (shell.folder / "data").is_dir()


def test_embedded_with_a_task_that_fails(shell: Shell, model: FakeOllama) -> None:
    model.script(Stream(), Answer(400, {"error": "no"}))

    (failed,) = shell.run("embedded").splitlines()[1:]
    assert failed.startswith("Task failed: ") and failed.endswith(": no")


def test_configuration(shell: Shell) -> None:
    assert shell.run("configuration").splitlines() == ["Hello!", "Workers: 8"]
    assert (shell.folder / "my_app_queue").is_dir()
    assert " completed " in (shell.folder / "logs" / "queue.log").read_text()


def test_callbacks(shell: Shell) -> None:
    assert shell.run("callbacks").splitlines() == [
        "Called back: Hello!",
        "Through the channel: [[10.0, 0.5]]",
    ]


def test_task_types(shell: Shell, server: QueueServer) -> None:
    assert shell.run("task_types").splitlines() == [
        "chat: Hello!",
        "generate: Hello!",
        "embed: 2 numbers",
    ]
    with server.client() as queue:
        embed, generate, chat = (queue.get_task(task.id) for task in queue.list_tasks()[:3])
    assert (chat.type, chat.priority) == ("chat", 10)
    assert set(chat.payload or ()) == {"messages", "system", "stream"}
    assert (generate.type, generate.priority) == ("generate", 5)
    assert set(generate.payload or ()) == {"prompt", "system", "template"}
    assert (embed.type, embed.priority) == ("embed", 5)
    assert (embed.payload or {})["truncate"] is True


def test_streaming(shell: Shell) -> None:
    assert shell.run("streaming") == "Hello!\nStream completed\n"


def test_streaming_when_an_attempt_is_lost(shell: Shell, model: FakeOllama) -> None:
    model.script(Stream(["Hel"], then="cut"))

    assert shell.run("streaming").splitlines() == [
        "Hel",
        "(The connection to the model was lost; starting again.)",
        "Hello!",
        "Stream completed",
    ]


def test_streaming_a_task_that_fails(shell: Shell, model: FakeOllama) -> None:
    model.script(Answer(400, {"error": "no"}))

    printed = shell.run("streaming")
    assert printed.startswith("\nStream error: ") and printed.endswith(": no\n")


def test_batch(shell: Shell) -> None:
    first, second, third = shell.run("batch").splitlines()

    assert first.startswith("Task 0: success=True, result={") and "'content': 'Hello!'" in first
    assert second.startswith("Task 1: success=True, result={") and "'response': 'Hello!'" in second
    assert third.startswith("Task 2: success=True, result={") and "'embeddings': [[" in third


def test_batch_and_schedule(shell: Shell, server: QueueServer, model: FakeOllama) -> None:
    model.script(*[Stream()] * 3, Answer(400, {"error": "no"}))

    printed = shell.run("batch_and_schedule").splitlines()

    assert printed[:3] == [f"Task {number}: completed" for number in (1, 2, 3)]
    (submitted,) = (line for line in printed if line.startswith("Batch submitted: "))
    (task,) = (line for line in printed if line.startswith("Task scheduled: "))
    (batch,) = (line for line in printed if line.startswith("Batch scheduled: "))
    assert "Batch completed: 2 of 3 succeeded" in printed
    assert "Batch completed: 3 of 3 succeeded" in printed
    with server.client() as queue:
        waiting = queue.get_task(ids_in(task)[0])
        first, *others = (queue.get_task(task_id) for task_id in ids_in(batch))
        once = [queue.get_task(task_id) for task_id in ids_in(submitted)]
    assert waiting.waiting_for == "schedule"
    assert (waiting.scheduled_at - waiting.created_at).total_seconds() > 3500
    assert [task.status for task in once].count("failed") == 1
    assert [task.status for task in others] == ["completed"] * 2
    assert first.started_at >= first.scheduled_at


def test_events(shell: Shell) -> None:
    printed = shell.run("events")

    assert re.fullmatch(rf"Event: task_completed, task: {ID}, status: completed\n", printed)


def test_events_of_a_task_that_fails(shell: Shell, model: FakeOllama) -> None:
    model.script(Answer(400, {"error": "no"}))

    assert shell.run("events").startswith("Event: task_failed, task: ")


def test_cron_tasks(shell: Shell, server: QueueServer) -> None:
    added, *listed = shell.run("cron_tasks").splitlines()

    (cron_id,) = ids_in(added)
    with server.client() as queue:
        cron = queue.get_cron_task(cron_id)
        queue.remove_cron_task(cron_id)
    assert listed == [
        f"Cron: {cron_id} - Sales report (0 9 * * 1-5), next at {cron.next_run}",
    ]
    assert cron.task_template.payload["prompt"] == "Sum up what was sold yesterday"
    assert cron.metadata == {"department": "sales", "kind": "report"}


def test_task_processor(shell: Shell) -> None:
    assert sorted(shell.run("task_processor").splitlines()) == [
        "Async chat response: Hello!",
        "Batch responses: ['Hello!', 'Hello!']",
    ]
    assert (shell.folder / "processor_data").is_dir()


def test_task_processor_with_tasks_that_fail(shell: Shell, model: FakeOllama) -> None:
    model.script(*[Answer(400, {"error": "no"})] * 3)

    chat, batch = sorted(shell.run("task_processor").splitlines())
    assert chat.startswith("Async chat failed: ") and chat.endswith(": no")
    assert batch.startswith("Batch responses: [") and batch.count("Error: ") == 2


def test_each_program_has_a_test_here() -> None:
    elsewhere = {"web_app"}
    tests = {f"test_{name.removeprefix('test_')}" for name in PROGRAMS.keys() - elsewhere}

    assert tests <= globals().keys()
    assert Client.__module__ == "ollama_queue.http.clients.client"
