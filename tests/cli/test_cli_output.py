"""What people see: tables that fit, ids in full, and nothing that their terminal would obey."""

import io
import json
import re
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from click import unstyle

from ollama_queue.actors.api import views
from ollama_queue.actors.core.model.stats import Counts, PlanState
from ollama_queue.actors.core.model.tasks import Status, Task, TaskType
from ollama_queue.cli.terminal import output
from ollama_queue.cli.terminal.session import Session

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60"
TASK = Task(
    id=ID,
    type=TaskType.CHAT,
    model="qwen3",
    priority=5,
    status=Status.COMPLETED,
    created_at=NOW,
    queued_at=NOW,
    max_retries=3,
    title="[red]what " + "is " * 30,
)


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Become a terminal so many columns wide; what was written is in the value."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def terminal(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return terminal


@pytest.mark.parametrize("width", [30, 80, 100, 120, 200])
def test_a_table_fits_the_terminal_and_shows_ids_in_full(terminal, width):
    written = terminal(width)
    output.print_tasks(Session(), [TASK])
    lines = [unstyle(line) for line in written.getvalue().splitlines()]

    assert ID in lines[1]
    assert "completed" in lines[1]
    assert len(lines) == 2
    if width >= 80:
        assert max(len(line.rstrip()) for line in lines) <= width
        assert "[red]what" in lines[1]
    assert ("CREATED" in lines[0]) == (width >= 120)


def test_places_are_said_as_people_do():
    said = "1st 2nd 3rd 4th 10th 11th 12th 13th 21st 22nd 101st 111th 1012th"
    assert [output.ordinal(int(each[:-2])) for each in said.split()] == said.split()


@pytest.mark.parametrize(
    ("eta_s", "words"),
    [
        (None, ""),
        (0.0, "any moment"),
        (0.99, "any moment"),
        (1.0, "about 1 s"),
        (59.4, "about 59 s"),
        (59.6, "about 1 min"),
        (130.0, "about 2 min"),
        (3599.0, "about 1 h"),
        (47 * 3600.0, "about 47 h"),
        (48 * 3600.0, "about 2 days"),
        (400 * 86400.0, "about 400 days"),
    ],
)
def test_an_estimate_is_said_in_one_unit(eta_s, words):
    assert output.starts_in(msgspec.structs.replace(TASK, eta_s=eta_s)) == words


def test_a_task_that_waits_says_when_it_may_start(terminal, capsys):
    waits = msgspec.structs.replace(TASK, status=Status.PENDING, position=3, eta_s=130.0)
    output.print_task(Session(), waits)
    assert re.search(r"^position: +3\nstarts: +about 2 min$", capsys.readouterr().out, re.MULTILINE)
    output.print_tasks(Session(), [waits, TASK])
    assert "  about 2 min  " in capsys.readouterr().out

    written = terminal(130)
    output.print_tasks(Session(), [waits, TASK])
    lines = written.getvalue().splitlines()
    assert "STARTS" in lines[0]
    assert "about 2 min" in lines[1]
    written = terminal(130)
    output.print_tasks(Session(), [TASK])
    assert "STARTS" not in written.getvalue()


def test_colours_are_for_terminals_only(terminal, capsys):
    written = terminal(200)
    output.print_tasks(Session(), [TASK])
    assert "\x1b[32mcompleted" in written.getvalue()


def test_piped_output_is_plain_and_whole(capsys):
    output.print_tasks(Session(), [TASK])
    heading, line = capsys.readouterr().out.splitlines()

    assert "\x1b" not in heading + line
    assert line.endswith(TASK.title.strip())
    assert "2026-01-02T03:04:05Z" in line


def test_a_title_or_an_error_cannot_move_the_cursor(capsys):
    evil = msgspec.structs.replace(TASK, title="a\x1b[2Jb", error="c\x07\nd\x9bm\u202ex")
    output.print_tasks(Session(), [evil])
    output.print_task(Session(), evil)
    said = capsys.readouterr().out

    assert not set(said) & set("\x1b\x07\x9b\u202e")
    assert r"c\u0007 d\u009bm\u202ex" in said


def test_json_says_the_same_and_hides_nothing(terminal, capsys):
    evil = {"title": "a\u202eb\x9b2J", "n": [1]}
    output.print_json(evil)
    output.print_json_line(evil)
    for line in capsys.readouterr().out.splitlines():
        assert line == r'{"title":"a\u202eb\u009b2J","n":[1]}'
        assert json.loads(line) == evil

    written = terminal(80)
    output.print_json(evil)
    assert json.loads(written.getvalue()) == evil
    assert "\u202e" not in written.getvalue()


def test_an_answer_is_verbatim_in_a_pipe_and_tame_on_a_terminal(terminal, capsys):
    task = msgspec.structs.replace(TASK, result={"response": "a\x1b[2J\u202e\n\tb\n"})
    output.print_answer(task)
    assert capsys.readouterr().out == "a\x1b[2J\u202e\n\tb\n"

    written = terminal(80)
    output.print_answer(task)
    assert written.getvalue() == "a\\u001b[2J\\u202e\n\tb\n"


def test_tool_calls_are_the_answer_where_there_are_no_words(capsys):
    calls = [{"function": {"name": "f", "arguments": {}}}]
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    output.print_answer(msgspec.structs.replace(TASK, result={"message": message}))
    assert json.loads(capsys.readouterr().out) == calls


def test_json_is_indented_for_people(terminal, capsys):
    output.print_json({"a": 1})
    assert capsys.readouterr().out == '{"a":1}\n'

    written = terminal(80)
    output.print_json({"a": 1})
    assert written.getvalue() == '{\n  "a": 1\n}\n'


def test_the_status_tells_of_waits_and_throughput(capsys):
    def facts(state, gap_ms=None):
        output.print_stats(Session(), views.stats(Counts(), state, 1.25, 100.0, 1.0, gap_ms))
        lines = capsys.readouterr().out.splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    waits = facts(PlanState(0, 1, False, {"slot": 2, "schedule": 3}, [], 87.5, 3), 12.3)
    nothing = facts(PlanState(0, 1, False, {}, []))
    full = facts(PlanState(0, 0, False, {}, [], read_only="the disk is full"))

    assert waits["waiting"] == "2 for slot, 3 for schedule"
    assert (waits["scheduled"], waits["longest wait"]) == ("3", "12.5 s")
    assert waits["throughput"] == nothing["throughput"] == "1.25 tasks a second"
    assert waits["longest gap"] == "12 ms without an answer, in the last minute"
    assert full["read-only"] == "the disk is full"
    absent = {"waiting", "scheduled", "longest wait", "longest gap", "read-only"}
    assert absent.isdisjoint(nothing)
