"""Tasks that ask for a response, on the command line: their title and reply are readable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_pieces import call, piece
from tests.support.harness.cli import CliHarness
from tests.support.harness.executor import sse


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[CliHarness]:
    with CliHarness(tmp_path) as made:
        yield made


def ask(shell: CliHarness) -> str:
    payload = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "say hi"}]}]}
    new: Any = {"type": "chat", "model": "m", "dialect": "responses", "payload": payload}
    task_id = shell.queue.submit_task(new)
    shell.queue.wait(task_id, timeout=5)
    return task_id


def test_the_reply_and_its_title(shell: CliHarness) -> None:
    task_id = ask(shell)

    assert shell.ok("result", task_id) == "Hello from here\n"
    assert "say hi" in shell.ok("list")
    assert "say hi" in shell.ok("status", task_id)


def test_the_reply_as_it_comes(shell: CliHarness) -> None:
    assert shell.ok("stream", ask(shell)) == "Hello from here\n"


def test_a_call_is_shown_as_json(shell: CliHarness) -> None:
    shell.fake.script(sse(call(0, "{}", id="c", name="add"), piece("tool_calls")))

    assert '"name":"add"' in shell.ok("result", ask(shell))
