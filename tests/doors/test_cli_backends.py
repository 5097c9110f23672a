"""`backends` and `completion`."""

import os
import subprocess
import sys

import pytest

from tests.doors.command import House
from tests.servers import ROOT


@pytest.fixture
def house(tmp_path):
    with House(tmp_path) as house:
        yield house


# --- backends -------------------------------------------------------------------------------------


def test_backends_are_listed(house):
    house.ended()
    head, row = house.ok("backends").splitlines()

    assert head.startswith("NAME    TYPE    HEALTH   RUNNING  MODELS  LOADED  CALLS  FAILURES")
    assert row.split()[:4] == ["ollama", "ollama", "healthy", "0/1"]
    (shown,) = house.json("backends")
    assert (shown["name"], shown["healthy"], shown["parallel"]) == ("ollama", True, 1)


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
        [sys.executable, "-c", "from ollama_queue.cli.main import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["plain,wait", "plain,watch"]


def test_an_unknown_shell_is_a_wrong_usage(house):
    assert house.run("completion", "tcsh").exit_code == 2
