"""Commands that take options in the place of ids, ask first, and print counts."""

import json

import click
import pytest

from ollama_queue.actors.core.intake import bulk
from ollama_queue.actors.core.model import task_filter
from ollama_queue.actors.core.model.tasks import TaskType
from ollama_queue.cli.terminal import bulk_choice as command
from ollama_queue.cli.terminal.filter_options import TYPES
from tests.support.fakes.model_server import Answer
from tests.support.harness.cli import CliHarness


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


@pytest.fixture
def terminal(monkeypatch):
    """Become a terminal where this is typed; what was asked is in the list."""
    asked = []
    echo = click.echo

    def terminal(answer):
        def listening(message=None, *args, **options):
            question, asks, _ = str(message).partition(" [y/N]: ")
            if asks:
                asked.append(question)
            echo(message, *args, **options)

        monkeypatch.setattr(command, "_is_terminal", lambda: True)
        monkeypatch.setattr(command, "_typed_line", lambda: "Yes\n" if answer else "\n")
        monkeypatch.setattr(click, "echo", listening)
        return asked

    return terminal


def statuses(house):
    return [task.status.value for task in house.queue.list_tasks()]


def test_all_that_match_are_cancelled(house):
    house.queue.pause()
    house.submitted(tags=["a", "b"])
    house.submitted(tags=["a"])
    house.submitted()

    assert house.ok("cancel", "--yes", "--tag", "b") == "1 cancelled\n"
    precise = ("--tag", "a", "--model", "m", "--status", "pending")
    assert house.ok("cancel", "--yes", *precise) == "1 cancelled\n"
    assert house.ok("cancel", "--yes", "--all") == "1 cancelled\n"
    assert house.ok("cancel", "--yes", "--all") == "0 cancelled\n"


def test_each_command_has_its_words(house):
    house.fake.script(Answer(400, {"error": "no"}))
    house.ended()
    house.queue.pause()

    assert house.ok("retry", "--yes", "--status", "failed") == "1 queued again\n"
    assert house.ok("priority", "high", "--yes", "--all") == "1 with priority high\n"
    assert house.ok("cancel", "--yes", "--type", "chat", "-q", "hello") == "1 cancelled\n"
    assert house.ok("delete", "--yes", "--since", "2020-01-01T00:00:00Z") == "1 deleted\n"


def test_programs_get_the_counts(house):
    house.queue.pause()
    house.submitted()

    assert house.json("cancel", "--all", "--yes") == {"done": 1, "errors": []}


def test_all_slices_are_done(house, monkeypatch):
    monkeypatch.setattr(bulk, "SLICE", 2)
    house.queue.pause()
    for _ in range(5):
        house.submitted()

    assert house.ok("cancel", "--all", "--yes") == "5 cancelled\n"
    assert statuses(house) == ["cancelled"] * 5


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("cancel", "--all"), "cancel 2 tasks"),
        (("cancel", "--tag", "a"), "cancel 1 task"),
        (("retry", "--status", "failed"), "retry 1 task"),
        (("delete", "--model", "m"), "delete 1 task and its result"),
        (("delete", "--model", "other"), "delete 0 tasks"),
        (("priority", "low", "--all"), "give 2 tasks priority low"),
        (("priority", "normal", "--all"), "give 0 tasks priority normal"),
    ],
)
def test_off_a_terminal_nothing_is_done_unasked(house, args, what):
    """And a rehearsal says the same count, in words and to programs."""
    house.fake.script(Answer(400, {"error": "no"}))
    house.ended()
    house.queue.pause()
    house.submitted(tags=["a"])
    house.submitted()
    before = house.queue.list_tasks()

    refused = house.run(*args)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"Error: this would {what}: add --yes to do it" in refused.stderr
    assert house.ok(*args, "--dry-run") == f"Would {what}\n"
    assert house.ok(*args, "--dry-run", "--yes") == f"Would {what}\n"
    count = int("".join(filter(str.isdigit, what)))
    assert house.json(*args, "--dry-run") == {"dry_run": True, "count": count}
    assert house.queue.list_tasks() == before


def test_what_is_counted_page_by_page_is_counted_whole(house, monkeypatch):
    monkeypatch.setattr(task_filter, "MAX_LIMIT", 2)
    house.queue.pause()
    for _ in range(5):
        house.submitted(tags=["a"])

    assert house.ok("cancel", "--tag", "a", "--dry-run") == "Would cancel 5 tasks\n"


def test_what_is_named_is_rehearsed_too(house):
    house.queue.pause()
    waiting, gone = house.submitted(), house.submitted()
    house.queue.cancel_task(gone)

    result = house.run("cancel", waiting, gone, "nobody", "--dry-run")
    assert (result.exit_code, result.stdout) == (4, "Would cancel 1 task\n")
    assert f"task {gone} is cancelled: it would be left as it is" in result.stderr
    assert "nobody" in result.stderr
    assert house.ok("priority", waiting, "high", "--dry-run") == (
        "Would give 1 task priority high\n"
    )
    assert house.run("priority", waiting, "urgent", "--dry-run").exit_code == 2
    assert sorted(statuses(house)) == ["cancelled", "pending"]
    assert house.queue.get_task(waiting).priority == 5


def test_a_terminal_is_asked_first(house, terminal):
    asked = terminal(answer=True)
    house.queue.pause()
    for _ in range(2):
        house.submitted(tags=["a"])

    house.ok("priority", "low", "--all")
    house.ok("cancel", "--tag", "a")
    house.ok("cancel", "--tag", "a")
    house.ok("delete", "--all")
    house.ok("delete", "--all", "--yes")
    assert asked == [
        "Give 2 tasks priority low?",
        "Cancel 2 tasks?",
        "Delete 2 tasks and their results? This cannot be undone.",
    ]


def test_no_means_no(house, terminal):
    terminal(answer=False)
    house.queue.pause()
    house.submitted()
    result = house.run("cancel", "--all")

    assert (result.exit_code, result.stdout) == (130, "")
    assert statuses(house) == ["pending"]


def test_errors_of_single_tasks_are_said(house, monkeypatch):
    house.queue.pause()
    task_id = house.submitted()
    page = house.queue.list_page()
    house.queue.cancel_task(task_id)
    monkeypatch.setattr(house.queue, "list_page", lambda _: page)

    result = house.run("cancel", "--all", "--yes")
    assert (result.exit_code, result.stdout) == (4, "0 cancelled\n")
    assert result.stderr == f"Error: task {task_id} is cancelled: it cannot be cancelled\n"
    told = json.loads(house.run("cancel", "--all", "--yes", "--output", "json").stdout)
    assert (told["done"], told["errors"][0]["code"]) == (0, "conflict")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("cancel",), "Missing argument 'ID...', or options that choose tasks: --model"),
        (("cancel", "a", "--all"), "name tasks by ID, or choose them by options, not both"),
        (("retry", "a", "--model", "m"), "not both"),
        (("delete", "--all", "--tag", "a"), "--all cannot be combined with"),
        (("priority", "high"), "Missing argument 'ID...'"),
        (("priority", "a", "b", "high"), "name one ID and one PRIORITY"),
        (("priority", "urgent", "--all"), "priority must be low"),
        (("cancel", "--status", "completed"), "status completed is not for cancel: it takes"),
        (("cancel", "--since", "noon"), "since must be a time with a zone"),
        (("cancel", "--type", "paint"), "'paint' is not one of"),
        (("delete", "--yes", "-q", ""), "--search must not be empty"),
        (("cancel", "--yes", "--batch", ""), "--batch must not be empty"),
    ],
)
def test_mistakes_are_said_in_one_line(house, args, words):
    result = house.run(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_options_know_each_type():
    assert tuple(TaskType) == TYPES
