"""Each example in the documents is run: what a reader copies must work."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_queue import Client, QueueManager, chat_task, generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT, model_server

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOUND = [
    (path.name, language, text)
    for path in DOCUMENTS
    for language, text in BLOCK.findall(path.read_text())
]


def lines(first_word: str) -> list[str]:
    """The shell examples that begin with a command, continued lines joined."""
    found = []
    for _, language, text in FOUND:
        if language == "bash":
            joined = re.sub(r"\n  +", " ", text)
            found += [line for line in joined.splitlines() if line.startswith(f"{first_word} ")]
            found += [first_word for line in joined.splitlines() if line == first_word]
    assert found, f"no example of {first_word}"
    return found


NO_ERROR = re.compile(r'"(error|error_code)":null|"errors":\[\]')
HI = {"role": "user", "content": "hi"}


def localized(text: str, server: QueueServer, model: FakeOllama) -> str:
    """The example, with the servers of this test in place of those on their usual ports."""
    text = text.replace("http://localhost:7125", server.base_url)
    text = text.replace("localhost:7125", server.base_url)
    text = text.replace("http://localhost:11434", model.url)
    text = text.replace("gpu1", "ollama")
    with server.client() as client:
        client.resume()
        if "<task-id>" in text:
            done = client.submit_task(chat_task("qwen3", [{"role": "user", "content": "hi"}]))
            client.wait(done, timeout=30)
            text = text.replace("<task-id>", done)
        if "<cron-id>" in text:
            template = {"type": "generate", "model": "qwen3", "prompt": "hi"}
            fields = {"name": "n", "cron_expr": "@yearly", "task_template": template}
            text = text.replace("<cron-id>", client.add_cron_task(fields))
        if "<batch-id>" in text:
            made = client.submit_batch([chat_task("qwen3", [{"role": "user", "content": "hi"}])])
            client.wait_batch(made, timeout=30)
            text = text.replace("<batch-id>", made.batch_id)
        if "<waiting-batch-id>" in text:
            client.pause()
            made = client.submit_batch([chat_task("qwen3", [{"role": "user", "content": "hi"}])])
            text = text.replace("<waiting-batch-id>", made.batch_id)
        if "<cancelled-id>" in text:
            client.pause()
            gone = client.submit_task(chat_task("qwen3", [{"role": "user", "content": "hi"}]))
            client.cancel_task(gone)
            text = text.replace("<cancelled-id>", gone)
        if "<waiting-id>" in text:
            client.pause()
            waiting = client.submit_task(chat_task("qwen3", [{"role": "user", "content": "hi"}]))
            text = text.replace("<waiting-id>", waiting)
    return text


@pytest.mark.parametrize("command", [*lines("ollama-queue"), *lines("curl")])
def test_a_command_does_what_it_says(
    command: str,
    server: QueueServer,
    model: FakeOllama,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    line = localized(command, server, model)
    batch = next(text for _, language, text in FOUND if language == "json")
    (tmp_path / "tasks.json").write_text(batch)
    requests = re.search(r"`(\{\"custom_id\": .*\})`", (ROOT / "docs" / "drop-in.md").read_text())
    assert requests is not None
    (tmp_path / "requests.jsonl").write_text(requests[1].replace("[…]", json.dumps([HI])))

    done = subprocess.run(
        shlex.split(line), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert "error" not in NO_ERROR.sub("", done.stdout)


MAINTENANCE = ("backup", "restore", "verify", "export", "import")
SERVED = lines("ollama-queue-server")
MAINTAINED = [line for line in SERVED if set(MAINTENANCE) & set(line.split()[1:2])]


@pytest.mark.parametrize("command", MAINTAINED)
def test_a_command_for_data_does_what_it_says(
    command: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with QueueManager(storage_path=str(tmp_path / "my-queue-data")) as queue:
        queue.submit_task(generate_task("qwen3", "hi"))
        if command.split()[1] != "backup":
            queue.backup(tmp_path / "backup")
    if command.split()[1] == "import":
        program = ["ollama-queue-server", "export", "queue.jsonl", "--data-dir", "my-queue-data"]
        subprocess.run(program, env=environment, cwd=tmp_path, check=True)

    done = subprocess.run(
        shlex.split(command), env=environment, cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [line for line in SERVED if line not in MAINTAINED])
def test_a_server_starts_as_shown(
    command: str, model: FakeOllama, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text((ROOT / "config.example.yaml").read_text())
    if "--check-config" in command:
        subprocess.run(shlex.split(command), env=environment, cwd=tmp_path, check=True)
        return
    words = [*shlex.split(command.replace("http://localhost:11434", model.url))]
    reserved = model_server.ReservedPort()
    words += ["--port", str(reserved.number)]

    process = subprocess.Popen(
        words, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        assert any("Ollama Queue " in line for line in process.stderr)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


PROGRAMS = [(name, text) for name, language, text in FOUND if language == "python"]


@pytest.mark.parametrize(
    "example",
    [text for _, text in PROGRAMS],
    ids=[f"{name}-{number}" for number, (name, _) in enumerate(PROGRAMS)],
)
def test_a_program_runs(
    example: str,
    server: QueueServer,
    model: FakeOllama,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    program = localized(example, server, model)

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "Hello!" in done.stdout


def test_the_client_of_these_examples_is_the_public_one() -> None:
    assert Client.__module__ == "ollama_queue.http.clients.client"
