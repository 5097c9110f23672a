"""Where options may stand, what is said of mistakes, and the exit codes."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import click
import pytest

from ollama_queue import __version__
from ollama_queue.actors.core.model.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    QueueError,
    QueueFull,
    Unauthorized,
    Unavailable,
)
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.cli.main import cli
from ollama_queue.cli.terminal import times
from ollama_queue.cli.terminal.session import EXIT, TaskNotCompleted, _client, exit_code
from ollama_queue.http.clients.address import DEFAULT_SERVER
from tests.support.harness.cli import CliHarness, run

ROOT = Path(__file__).resolve().parents[2]
CHAT = ("submit", "chat", "--model", "m", "--messages")
SLOW_IMPORTS = ("httpx", "rich", "pykka", "gevent", "rocksdict", "yaml", "msgspec")


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


class Refusing:
    """A queue that answers each verb with the same error."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, verb):
        def refuse(*_, **__):
            raise self.error

        return refuse


def all_commands(command=cli, path=("ollama-queue",)):
    """Each command that does something, as its words."""
    if not isinstance(command, click.Group):
        yield path[1:]
        return
    for name, child in command.commands.items():
        yield from all_commands(child, (*path, name))


def all_groups(command=cli, path=()):
    """Each command that has others, as its words."""
    if isinstance(command, click.Group):
        yield path
        for name, child in command.commands.items():
            yield from all_groups(child, (*path, name))


def options_of(*words):
    command = cli
    for word in words:
        command = command.commands[word]
    return {option.name: option for option in command.params if isinstance(option, click.Option)}


ALL = {" ".join(words): words for words in all_commands()}


def kinds(error=QueueError):
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [*all_groups(), *ALL.values()], ids=" ".join)
def test_each_command_has_help_with_an_example(words):
    result = run(nullcontext, *words, "--help")

    assert result.exit_code == 0
    assert f"Example:\n    {' '.join(('ollama-queue', *words))}" in result.stdout
    for option in ("--server URL", "--output [table|json]", "--quiet"):
        assert option in result.stdout


@pytest.mark.parametrize("words", ALL.values(), ids=" ".join)
def test_each_command_is_in_the_readme(words):
    assert f"ollama-queue {' '.join(words)}" in (ROOT / "README.md").read_text()


def test_lists_take_every_filter():
    assert options_of("list").keys() >= set(TaskFilter.__struct_fields__)


@pytest.mark.parametrize("words", ALL.values(), ids=" ".join)
def test_times_and_durations_are_written_alike_everywhere(words):
    options = options_of(*words)
    for name in options.keys() & {"since", "until"}:
        assert options[name].callback is times.ago
    for name in options.keys() & {"scheduled_at", "deadline", "expires_at"}:
        assert options[name].callback is times.from_now
    for name in options.keys() & {"timeout", "timeout_s", "start_within"}:
        assert options[name].callback is times.seconds


@pytest.mark.parametrize("kind", ["chat", "generate", "embed"])
def test_a_cron_takes_what_its_task_does(kind):
    only_once = {"scheduled_at", "deadline", "idempotency_key", "wait", "stream"}

    assert options_of("cron", "add").keys() >= options_of("submit", kind).keys() - only_once


def test_version():
    assert run(nullcontext, "--version").stdout == f"ollama-queue {__version__}\n"


def test_help_waits_for_nothing_that_it_does_not_need():
    program = f"""
import sys
from ollama_queue.cli.main import cli
try:
    cli.main(["submit", "chat", "--help"], prog_name="ollama-queue")
finally:
    print(sorted({{name.partition(".")[0] for name in sys.modules}} & set({SLOW_IMPORTS})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_command_shows_the_help():
    result = run(nullcontext)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: ollama-queue" in result.stderr


# --- global options -------------------------------------------------------------------------------


def test_options_stand_before_and_after_the_command(house):
    house.queue.pause()
    words = (*CHAT, "user:a")

    for args in (
        ("--output", "json", "--server", "x", *words),
        (*words, "--output", "json", "--server", "x"),
        ("submit", "--output", "json", "--server", "x", *words[1:]),
        ("--server", "y", "--output", "table", *words, "--output", "json", "--server", "x"),
    ):
        result = house.run(*args)
        assert result.stdout.startswith('{"task_id":'), args
        assert result.stderr == ""
    assert house.servers == ["x"] * 4


def test_the_server_comes_from_the_environment_unless_it_is_named(house, monkeypatch):
    monkeypatch.setenv("OLLAMA_QUEUE_SERVER", "far:1")
    house.run("list")
    house.run("--server", "near:1", "list")
    monkeypatch.setenv("OLLAMA_QUEUE_SERVER", "")
    house.run("list")
    monkeypatch.delenv("OLLAMA_QUEUE_SERVER")
    house.run("list")

    assert house.servers == ["far:1", "near:1", DEFAULT_SERVER, DEFAULT_SERVER]


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_leaves_data_and_errors(house, place):
    def quiet(*words):
        return house.run(*(("--quiet", *words) if place == "before" else (*words, "--quiet")))

    assert quiet("list").stderr == ""
    assert quiet("pause").stderr == ""
    assert quiet(*CHAT, "user:a").stderr == ""
    assert quiet("status", "gone").stderr.startswith("Error: ")


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((*CHAT, "hello"), "'hello' does not say whose words it is, write system:TEXT, user:TEXT"),
        ((*CHAT, "poet:hello"), "write system:TEXT, user:TEXT, assistant:TEXT, tool:TEXT"),
        (
            (*CHAT, "user:a", "--option", "temperature"),
            "must be KEY=VALUE, such as temperature=0.2",
        ),
        ((*CHAT, "user:a", "--option", "=1"), "must be KEY=VALUE"),
        ((*CHAT, "user:a", "--priority", "urgent"), "priority must be low, normal, high, critical"),
        ((*CHAT, "user:a", "--scheduled-at", "noon"), "such as 2026-12-25T10:00:00Z"),
        ((*CHAT, "user:a", "--timeout", "0"), "timeout_s must be seconds above 0"),
        ((*CHAT, "user:a", "--timeout", "soon"), "'soon' is not a duration: write 500ms, 30s"),
        (("list", "--since", "soon"), "since must be a time with a zone"),
        (("list", "--since", "9999999d"), "9999999d ago is no time"),
        ((*CHAT, "user:a", "--deadline", "noon"), "deadline must be a time with a zone, such as"),
        ((*CHAT, "user:a", "--deadline", "0s"), "deadline must be in the future"),
        ((*CHAT, "user:a", "--deadline", "9999999d"), "9999999d from now is no time"),
        ((*CHAT, "user:a", "--start-within", "soon"), "'soon' is not a duration: write 500ms"),
        ((*CHAT, "user:a", "--start-within", "0"), "start_within must be seconds above 0"),
        ((*CHAT, "user:a", "--max-retries", "many"), "'many' is not a valid integer"),
        ((*CHAT, "user:a", "--idempotency-key", ""), "the idempotency key must have"),
        ((*CHAT, "user:\udcff"), "cannot be written as JSON"),
        (("submit", "chat", "--model", "m"), "Missing option '--messages'"),
        (("submit", "chat", "--messages", "user:a"), "Missing option '--model'"),
        (("submit", "chat", "--modle", "m"), "Did you mean '--model'?"),
        (("submit", "--model", "m"), "missing task type: batch, chat, embed, generate"),
        (("list", "--status", "done"), "'done' is not one of 'pending', 'running'"),
        (("list", "--limit", "0"), "limit must be a whole number from 1 to 1000"),
        (("cancel",), "Missing argument 'ID...'"),
        (("lst",), "No such command 'lst'"),
        (("--output", "xml", "list"), "'xml' is not one of 'table', 'json'"),
    ],
)
def test_mistakes_are_said_in_one_line(house, args, words):
    result = house.run(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_wrong_usage_names_the_help():
    assert "(see ollama-queue submit chat --help)" in run(nullcontext, "submit", "chat").stderr


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (TaskNotCompleted, 1),
        (Invalid, 2),
        (Unauthorized, 2),
        (Forbidden, 2),
        (NotFound, 3),
        (Conflict, 4),
        (QueueFull, 5),
        (Unavailable, 6),
        (OutcomeUnknown, 6),
    ],
)
def test_each_error_has_its_exit_code(kind, code):
    result = run(lambda _: nullcontext(Refusing(kind("it is\nso \x1b[31m"))), "list")

    assert result.exit_code == code
    assert result.stderr == "Error: it is so \\u001b[31m\n"


def test_no_error_is_without_an_exit_code():
    public = {kind for kind in kinds() if kind.__module__ == QueueError.__module__}
    public = {kind for kind in public if "code" in vars(kind)}  # others are as their kind
    assert public - set(EXIT) == {OutcomeUnknown}
    assert all(exit_code(kind("")) for kind in public)


def test_an_unknown_id_is_3(house):
    for words in (("status",), ("result",), ("cancel",), ("wait",)):
        assert house.run(*words, "gone").exit_code == 3
    assert house.run("priority", "gone", "high").exit_code == 3


def test_no_server_is_6():
    result = run(_client, "list", "--server", "http://127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error():
    program = """
import sys
from contextlib import nullcontext
from ollama_queue import TaskPage
from ollama_queue.cli.main import cli
from ollama_queue.cli.terminal.session import Session

class Slow:
    def list_page(self, _):
        sys.stdin.readline()  # until the reader has left
        return TaskPage(["x" * 100_000])

args = ["list", "--output", "json"]
cli.main(args, prog_name="ollama-queue", obj=Session(lambda _: nullcontext(Slow())))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
