"""What a server and an embedded queue write into their logs, and how a server is asked about."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import (
    Config,
    Invalid,
    QueueManager,
    Unavailable,
    __version__,
    generate_task,
)
from ollama_queue.actors.core.config.config import (
    LoggingSettings,
    OllamaSettings,
    QueueSettings,
    RetrySettings,
)
from ollama_queue.actors.supervision.generation import Runtime
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

PATIENCE_S = 20
SECRET = "tell nobody"
LOG = logging.getLogger("ollama_queue")


def server_ends(folder: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    """Run a server that ends by itself: its code, stdout and stderr."""
    given = {name: value for name, value in os.environ.items() if "OLLAMA" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "ollama_queue.http.serving.serve", *options],
        env={**given, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout, done.stderr


def lived(queue: Any, model: FakeOllama) -> list[str]:
    """Four tasks that end in four ways."""
    model.script(Answer(500, {"error": "busy"}), Answer(404, {"error": "no such model"}))
    done = queue.submit_task(generate_task("m", SECRET, max_retries=1))
    assert queue.wait(done, timeout=PATIENCE_S).status == "failed"
    well = queue.submit_task(generate_task("m", SECRET, priority=10))
    queue.wait(well, timeout=PATIENCE_S)
    queue.pause()
    gone = queue.submit_task(generate_task("m", SECRET))
    queue.update_task_priority(gone, 15)
    queue.cancel_task(gone)
    queue.delete_task(gone)
    queue.resume()
    return [done, well, gone]


LIVES = [
    ["task_submitted", "task_started", "task_retrying", "task_started", "task_failed"],
    ["task_submitted", "task_started", "task_completed"],
    ["task_submitted", "priority_updated", "task_cancelled", "task_deleted"],
]


def test_a_server_logs_each_event_of_a_task_as_json(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "queue.log"
    with FakeOllama() as model:
        server = QueueServer(tmp_path, model.url)
        server.config.write_text(
            f"{server.config.read_text()}logging: {{file: '{log}', format: json}}\n"
        )
        with server, server.client() as client:
            ids = lived(client, model)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [[line for line in lines if line.get("task_id") == each] for each in ids]

    assert [[line["event"] for line in life] for life in told] == LIVES
    assert lines[0]["message"].startswith("Ollama Queue ")
    assert {tuple(line)[:3] for line in lines} == {("time", "level", "message")}
    last = told[0][-1]
    assert (last["attempt"], last["backend"], last["model"]) == (2, "ollama", "m")
    assert "no such model" in last["error"]
    assert last["run_s"] >= 0
    assert told[0][1]["wait_s"] >= 0
    assert told[2][1]["priority"] == 15
    assert SECRET not in log.read_text()
    assert server.log_text() == ""


def test_a_server_logs_text_to_stderr_and_as_much_as_it_is_told(tmp_path: Path) -> None:
    with FakeOllama() as model:
        for level in ("info", "warning"):
            server = QueueServer(tmp_path / level, model.url)
            server.config.write_text(f"{server.config.read_text()}logging: {{level: {level}}}\n")
            with server, server.client() as client:
                ids = lived(client, model)
            lines = server.log_text().splitlines()

            assert lines[0].startswith("Ollama Queue ")
            told = [line for line in lines if ids[1] in line]
            assert len(told) == (3 if level == "info" else 0)
            assert all(" INFO ollama_queue task " in line for line in told)


def test_the_server_says_its_version_as_the_command_line_does(tmp_path: Path) -> None:
    assert server_ends(tmp_path, "--version") == (0, f"ollama-queue-server {__version__}\n", "")


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    code, out, error = server_ends(tmp_path, LOG_FILE="folder")

    assert (code, out) == (2, "")
    assert error == (
        "ollama-queue-server: logging.file: folder cannot be written: Is a directory\n"
    )
    assert not (tmp_path / "data").exists()


def test_check_config_prints_what_is_in_force_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("logging: {file: a/b.log}\nserver: {port: 1}\n")
    code, out, error = server_ends(
        tmp_path,
        *("--check-config", "--config", "config.yaml", "--port", "2", "--log-format", "json"),
        QUEUE_MAX_WORKERS="3",
    )

    assert (code, error) == (0, "")
    told = {line.partition("#")[0].strip(): line.partition("# ")[2] for line in out.splitlines()}
    assert told["port: 2"] == told["format: json"] == "command line"
    assert told["file: a/b.log"] == "config.yaml"
    assert told["max_workers: 3"] == "environment variable QUEUE_MAX_WORKERS"
    assert told["durability: strict"] == "default"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_check_config_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 1}\n")

    assert server_ends(tmp_path, "--check-config", "--config", "config.yaml") == (
        2,
        "",
        "ollama-queue-server: config.yaml: server.prot is not a setting: "
        "did you mean server.port?\n",
    )


# --- embedded -------------------------------------------------------------------------------------


def test_an_embedded_queue_logs_into_a_file_while_it_is_open(tmp_path: Path) -> None:
    log, before = tmp_path / "logs" / "queue.log", (LOG.level, list(LOG.handlers))
    with (
        FakeOllama() as model,
        QueueManager(
            ollama_host=model.url,
            storage_path=tmp_path / "data",
            retry_config=RetrySettings(initial_delay=0.01, max_delay=0.01),
            log_level="info",
            log_file=log,
        ) as queue,
    ):
        root = list(logging.root.handlers)
        ids = lived(queue, model)
    lines = [line.partition(" ollama_queue ")[2] for line in log.read_text().splitlines()]

    told = [[line.split()[2] for line in lines if line.startswith(f"task {i} ")] for i in ids]
    words = [[event.removeprefix("task_").split("_")[0] for event in life] for life in LIVES]
    assert told == words
    assert SECRET not in log.read_text()
    assert (LOG.level, LOG.handlers) == before
    assert logging.root.handlers == root


def test_a_queue_that_says_nothing_of_logs_leaves_them_alone(tmp_path: Path) -> None:
    before = (LOG.level, list(LOG.handlers))
    with FakeOllama() as model, QueueManager(ollama_host=model.url, storage_path=tmp_path):
        assert (LOG.level, LOG.handlers) == before


def test_a_queue_composed_by_another_program_leaves_logs_to_it(tmp_path: Path) -> None:
    config = Config(
        queue=QueueSettings(storage_path=str(tmp_path)), logging=LoggingSettings(level="debug")
    )
    runtime: Any = QueueManager(config)._runtime
    assert isinstance(runtime, Runtime)
    before = LOG.level
    with QueueManager(config):
        assert LOG.level == logging.DEBUG
    with QueueManager(config, runtime=runtime):
        assert before == LOG.level


def test_a_queue_that_cannot_be_opened_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    before = (LOG.level, list(LOG.handlers))
    options: dict[str, Any] = {"storage_path": tmp_path / "data", "log_level": "error"}
    with QueueManager(storage_path=tmp_path / "data"), pytest.raises(Unavailable):
        QueueManager(**options, log_file=tmp_path / "q.log").start()
    with pytest.raises(Invalid, match="cannot be written: Is a directory"):
        QueueManager(**options, log_file=tmp_path).start()

    assert (LOG.level, LOG.handlers) == before


def test_a_cancelled_call_tells_how_long_it_ran(tmp_path: Path) -> None:
    log = tmp_path / "queue.log"
    config = Config(
        ollama=OllamaSettings(host="http://127.0.0.1:9"),
        queue=QueueSettings(storage_path=str(tmp_path / "data")),
        logging=LoggingSettings(file=str(log), format="json"),
    )
    with FakeOllama(Hang()) as model:
        config = Config(
            ollama=OllamaSettings(host=model.url), queue=config.queue, logging=config.logging
        )
        with QueueManager(config) as queue:
            task_id = queue.submit_task(generate_task("m", "hi"))
            model.wait_for_calls(1)
            queue.cancel_task(task_id)
    last = json.loads(log.read_text().splitlines()[-1])

    assert (last["event"], last["task_id"]) == ("task_cancelled", task_id)
    assert last["run_s"] >= 0


# --- the options of QueueManager ------------------------------------------------------------------


def test_the_options_are_those_of_the_settings() -> None:
    config = QueueManager(
        ollama_timeout="90s",
        cleanup_interval="30m",
        max_completed_tasks=1000,
        scheduling_interval=0.5,
        log_level="warning",
        log_file="./logs/queue.log",
    ).config

    assert (config.queue.cleanup_interval, config.queue.max_completed_tasks) == (1800, 1000)
    assert (config.ollama.timeout, config.scheduler.scheduling_interval) == (90, 0.5)
    assert config.logging == LoggingSettings(
        level="warning", file=os.path.abspath("logs/queue.log")
    )


@pytest.mark.parametrize("retry", [{"max_retries": 0}, RetrySettings(max_retries=0)])
def test_retries_are_a_record_or_a_dict(retry: Any) -> None:
    assert QueueManager(retry_config=retry).config.retry_config == RetrySettings(max_retries=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retry_config": 3}, "retry_config must be a group of settings"),
        ({"retry_config": {"retries": 3}}, "did you mean retry_config."),
        ({"log_lvel": "info"}, "log_lvel is not an option; the options are "),
        ({"log_level": "loud"}, "log_level: 'loud' is not one of debug, info"),
        ({"max_workers": 0}, "max_workers must be 1 to 1024"),
        ({"ollama_host": "::bad::"}, "ollama_host: '::bad::' is not a host"),
        ({"retry_config": {"max_retries": -1}}, "retry_config.max_retries must be 0 to 100"),
        ({"config": Config(), "max_workers": 3}, "give a Config or options, not both"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        QueueManager(**options)

    assert words in caught.value.message
    assert "command line" not in caught.value.message
    assert caught.value.field is not None
    assert caught.value.field.split(".")[0] in options
