"""`backends` and `completion`."""

import os
import re
import subprocess
import sys
from contextlib import closing

import pytest

from tests.support.fakes.model_server import Answer
from tests.support.harness.cli import CliHarness
from tests.support.servers.real_models import ROOT


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


# --- backends -------------------------------------------------------------------------------------


def test_backends_are_listed(house):
    house.ended()
    head, row = house.ok("backends").splitlines()

    assert head.startswith(
        "NAME    TYPE    HEALTH   RUNNING  MODELS  LOADED  PINNED  CALLS  FAILURES"
    )
    assert row.split()[:4] == ["ollama", "ollama", "healthy", "0/1"]
    (shown,) = house.json("backends")
    assert (shown["name"], shown["healthy"], shown["parallel"]) == ("ollama", True, 1)


def test_one_that_rests_says_for_how_long_and_what_waits_for_it(house):
    house.fake.script(Answer(503, {"error": "busy"}, {"Retry-After": "90"}))
    with closing(house.queue.subscribe(["task_retrying"])) as feed:
        task_id = house.submitted()
        feed.get(10)

    _, row = house.ok("backends").splitlines()
    (seconds,) = re.findall(r"resting (\d+) s", row)
    assert 80 < int(seconds) <= 90
    assert re.search(r"no backend for: +m \(1\): ollama is resting \d+ s", house.ok("status"))
    assert [task["id"] for task in house.json("list", "--waiting-for", "backend")] == [task_id]

    assert "resting" not in house.ok("backends", "resume", "ollama")
    assert house.queue.wait(task_id, timeout=10).status == "completed"


# --- completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(house, shell):
    script = house.ok("completion", shell)

    assert f"_OLLAMA_QUEUE_COMPLETE={shell}_complete" in script
    assert house.servers == []


def test_the_script_asks_this_program(house):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_OLLAMA_QUEUE_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": "ollama-queue wa", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from ollama_queue.cli.start import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["plain,wait", "plain,watch"]


def test_an_unknown_shell_is_a_wrong_usage(house):
    assert house.run("completion", "tcsh").exit_code == 2
