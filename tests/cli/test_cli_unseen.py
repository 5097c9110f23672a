"""Whatever users and model servers write: no command prints what is unseen or a terminal obeys."""

import pytest

from ollama_queue.actors.core.text.escaping import visible
from tests.support.fakes.behaviours import Answer
from tests.support.harness.cli import CliHarness

EVIL = "safe\x1b[2J\x9b1A\u202e\u200b\u2066x\x07"


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


@pytest.fixture
def ids(house):
    """Of a task that failed in evil words, one that waits, one that was answered, and a cron."""
    house.fake.script(Answer(400, {"error": EVIL}))
    failed = house.ended(EVIL)
    house.fake.script(Answer(200, {"message": {"content": EVIL}, "done": True}))
    answered = house.ended(EVIL)
    house.queue.pause()
    waiting = house.submitted(EVIL, tags=[EVIL], metadata={EVIL: EVIL})
    template = {"type": "generate", "model": f"m{EVIL}", "prompt": EVIL, "tags": [EVIL]}
    cron = {"name": EVIL, "cron_expr": "@yearly", "task_template": template}
    cron_id = house.queue.add_cron_task(cron)
    return {"FAILED": failed, "WAITING": waiting, "ANSWERED": answered, "CRON": cron_id}


@pytest.mark.parametrize("more", [(), ("--output", "json")])
@pytest.mark.parametrize(
    "command",
    [
        "list",
        f"list --tag {EVIL}",
        "status",
        "status FAILED",
        "status WAITING",
        "status ANSWERED",
        "stream FAILED",
        "result FAILED",
        "wait FAILED",
        "watch --once",
        "backends",
        f"backends drain {EVIL}",
        "cron list",
        "cron show CRON",
        "cron remove CRON",
        "cancel WAITING",
        f"cancel {EVIL}",
        f"priority {EVIL} --all",
        f"{EVIL}",
        f"list --{EVIL}",
        f"submit chat --model {EVIL} --messages user:{EVIL}",
        f"submit chat --model m --messages {EVIL}",
        f"submit batch --file {EVIL}",
    ],
)
def test_nothing_unseen_is_printed(house, ids, command, more):
    args = [ids.get(word, word) for word in command.split(" ")]
    result = house.run(*args, *more)

    assert result.output
    for text in (result.stdout, result.stderr):
        assert text == visible(text, keep="\n")
