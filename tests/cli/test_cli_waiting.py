"""Waiting for tasks: each as it ends, the line on a terminal, and Ctrl-C."""

import json
import os
import sys
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ollama_queue.actors.core.model.errors import Unavailable
from ollama_queue.actors.core.model.tasks import Status, Task, TaskType, WaitingFor
from ollama_queue.cli.main import cli
from ollama_queue.cli.terminal.session import Session
from ollama_queue.cli.terminal.waiting import StatusLine, progress
from tests.support.fakes.model_server import Answer, Hang, Stream
from tests.support.harness.cli import CliHarness, run

NOW = datetime.now(UTC)
TASK = Task(
    id="a", type=TaskType.CHAT, model="m", priority=5, created_at=NOW, queued_at=NOW, max_retries=3
)


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


class Meddling:
    """A queue whose looks go as scripted: exceptions are raised, None looks for real."""

    def __init__(self, queue, *script):
        self.queue, self.script = queue, list(script)

    def __getattr__(self, verb):
        return getattr(self.queue, verb)

    def get_task(self, task_id, *, wait=None):
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        return self.queue.get_task(task_id, wait=wait)


def test_wait_says_of_each_that_it_ended(house):
    first, second = house.submitted(), house.submitted()
    result = house.run("wait", first, second, first)

    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == sorted(
        [f"{first}  completed", f"{second}  completed"]
    )


def test_wait_prints_first_what_ends_first(house):
    house.queue.pause()
    slow, quick = house.submitted(), house.submitted()
    house.queue.cancel_task(quick)
    result = house.run("wait", slow, quick, "--timeout", "0")

    assert result.stdout == f"{quick}  cancelled\n"
    assert result.stderr.splitlines() == [
        f"Error: task {quick} was cancelled",
        f"Error: task {slow} has not ended within 0 s; it continues",
    ]
    assert result.exit_code == 1


def test_wait_goes_on_when_one_cannot_be_waited_for(house):
    task_id = house.submitted()
    result = house.run("wait", "gone", task_id)

    assert result.stdout == f"{task_id}  completed\n"
    assert result.stderr.startswith("Error: ")
    assert result.exit_code == 3


def test_wait_that_takes_too_long(house):
    house.fake.default = Hang()
    result = house.run("wait", house.submitted(), "--timeout", "0.05")

    assert (result.exit_code, result.stdout) == (4, "")


def test_wait_for_a_task_that_fails(house):
    house.fake.script(Answer(400, {"error": "no"}))
    task_id = house.submitted()
    result = house.run("wait", task_id, "--output", "json")

    assert (result.exit_code, json.loads(result.stdout)["status"]) == (1, "failed")
    assert result.stderr.startswith(f"Error: task {task_id} failed: ")


def test_a_wait_outlives_an_outage(house):
    task_id = house.submitted()
    queue = Meddling(house.queue, None, Unavailable("away"))
    result = run(lambda _: nullcontext(queue), "wait", task_id)

    assert result.stdout == f"{task_id}  completed\n"


def test_but_a_server_that_never_answered_is_not_waited_for(house):
    queue = Meddling(house.queue, Unavailable("away"))
    result = run(lambda _: nullcontext(queue), "wait", house.submitted())

    assert (result.exit_code, result.stderr) == (6, "Error: away\n")


def test_ctrl_c_ends_the_waiting_alone(house):
    house.queue.pause()
    first, second = house.submitted(), house.submitted()
    connect = lambda _: nullcontext(Meddling(house.queue, None, KeyboardInterrupt()))  # noqa: E731

    one = run(connect, "wait", first)
    assert (one.exit_code, one.stdout) == (130, "")
    assert one.stderr == (
        f"Interrupted; task {first} continues. Status: ollama-queue status {first}. "
        f"Cancel: ollama-queue cancel {first}\n"
    )
    two = run(connect, "wait", first, second)
    assert f"2 tasks continue. Status: ollama-queue status {first}." in two.stderr
    submitted = run(connect, "submit", "chat", "--model", "m", "--messages", "user:a", "--wait")
    assert (submitted.exit_code, submitted.stdout) == (130, "")
    assert "continues. Status: ollama-queue status " in submitted.stderr
    assert len(house.queue.list_tasks()) == 3


def test_ctrl_c_elsewhere_is_130(house):
    queue = Meddling(house.queue, KeyboardInterrupt())
    assert run(lambda _: nullcontext(queue), "status", "a").exit_code == 130


# --- on a terminal --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"position": 3}, "waiting: position 3"),
        ({"position": 0}, "waiting: next"),
        ({"position": 3, "eta_s": 130.0}, "waiting: position 3, about 2 min"),
        ({"waiting_for": WaitingFor.PAUSED, "position": 3}, "waiting: the queue is paused"),
        ({"waiting_for": WaitingFor.BACKEND}, "waiting: no model server is available"),
        (
            {"waiting_for": WaitingFor.RETRY, "error": "cut"},
            "waiting: retry after: cut",
        ),
        (
            {
                "waiting_for": WaitingFor.SCHEDULE,
                "scheduled_at": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
            },
            "waiting: scheduled for 2030-01-02 03:04:05Z",
        ),
        (
            {
                "status": Status.RUNNING,
                "started_at": NOW + timedelta(hours=1),
                "executed_on": "gpu",
            },
            "running on gpu, 0 s",
        ),
    ],
)
def test_what_is_said_of_a_task_that_has_not_ended(facts, words):
    assert progress(msgspec.structs.replace(TASK, **facts)) == words


def test_a_line_that_was_never_drawn_needs_no_clearing(capsys):
    line = StatusLine(is_on=False)
    line.show("waiting")
    line.clear()
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal():
    """Both ends of a real terminal; ours reads until some words have come."""
    ours, theirs = os.openpty()

    def read(words):
        drawn = ""
        while words not in drawn:
            drawn += os.read(ours, 1000).decode()
        return drawn

    with os.fdopen(theirs, "w") as stderr:
        yield read, stderr
    os.close(ours)


def wait_on(stderr, monkeypatch, house, *args):
    """`ollama-queue wait` whose stderr is a terminal; it gets `over` when the command has ended."""
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as exit:
        patch.setattr(sys, "stderr", stderr)
        session = Session(lambda _: nullcontext(house.queue))
        cli.main(["wait", *args, "--timeout", "5"], prog_name="ollama-queue", obj=session)
    stderr.write("over")
    stderr.flush()
    return exit.value.code


def test_the_line_on_a_terminal(house, terminal, monkeypatch):
    gate = threading.Event()
    house.fake.default = Stream(gate=gate)
    house.submitted("the one before")
    house.fake.wait_for_calls(1)
    read, stderr = terminal
    drawn = []

    def watch():
        drawn.append(read("\x1b[K"))
        gate.set()
        drawn.append(read("over"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert wait_on(stderr, monkeypatch, house, house.submitted()) == 0
    watcher.join(5)

    text = "".join(drawn)
    assert "\r\x1b[Kwaiting: next" in text
    assert text.endswith("\r\x1b[Kover")


def test_no_line_on_a_terminal_that_is_to_be_quiet(house, terminal, monkeypatch):
    read, stderr = terminal
    assert wait_on(stderr, monkeypatch, house, house.submitted(), "--quiet") == 0
    assert read("over") == "over"
