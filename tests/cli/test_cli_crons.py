"""The `cron` commands."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.harness.cli import CliHarness, run

ADD = ("cron", "add", "--name", "Daily", "--schedule", "0 0 1 1 *", "--model", "qwen3")


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


def added(house, *more):
    return house.ok(*ADD, "--prompt", "Report", *more).strip()


def test_adding_prints_the_id_alone(house):
    result = house.run(*ADD, "--prompt", "Generate report", "--priority", "high")

    cron = house.queue.get_cron_task(result.stdout.strip())
    assert (cron.name, cron.cron_expr, cron.enabled) == ("Daily", "0 0 1 1 *", True)
    assert cron.task_template.payload == {"prompt": "Generate report"}
    assert (cron.task_template.type, cron.task_template.priority) == ("generate", 10)
    assert result.stderr == f"Added. See: ollama-queue cron show {cron.id}\n"


def test_all_options(house):
    added = house.json(
        *ADD,
        *("--messages", "user:Hello, how: are you?", "--system", "Be brief."),
        *("--option", "temperature=0.2", "--max-retries", "1", "--timeout", "60"),
        *("--start-within", "5m"),
        *("--tag", "a", "--tag", "b", "--timezone", "Europe/Berlin"),
        *("--overlap", "skip", "--missed", "once", "--disabled"),
    )

    cron = house.queue.get_cron_task(added["id"])
    template = cron.task_template
    assert (template.type, template.options, template.tags) == (
        "chat",
        {"temperature": 0.2},
        ["a", "b"],
    )
    assert template.payload == {
        "messages": [{"role": "user", "content": "Hello, how: are you?"}],
        "system": "Be brief.",
    }
    assert (template.max_retries, template.timeout_s) == (1, 60.0)
    assert template.start_within == 300.0
    assert (cron.timezone, cron.overlap, cron.missed) == ("Europe/Berlin", "skip", "once")
    assert (cron.enabled, cron.next_run) == (False, None)


def test_adding_by_name_finds_it_again(house):
    first = house.json(*ADD, "--prompt", "Report", "--if-exists", "update")
    house.queue.disable_cron_task(first["id"])
    again = house.run(*ADD, "--prompt", "Other", "--if-exists", "update")

    assert again.stdout == f"{first['id']}\n"
    assert again.stderr == f"See: ollama-queue cron show {first['id']}\n"
    (cron,) = house.queue.list_cron_tasks()
    assert (cron.task_template.payload, cron.enabled) == ({"prompt": "Other"}, False)
    assert house.ok(*ADD, "--prompt", "x", "--if-exists", "keep").strip() == cron.id
    refused = house.run(*ADD, "--prompt", "x", "--if-exists", "error")
    assert (refused.exit_code, cron.id in refused.stderr) == (4, True)


def test_an_embedding(house):
    cron_id = house.ok(*ADD, "--input", "one", "--input", "two").strip()
    template = house.queue.get_cron_task(cron_id).task_template
    assert (template.type, template.payload) == ("embed", {"input": ["one", "two"]})


def test_listing(house):
    assert house.run("cron", "list").stderr == "No crons.\n"
    first, second = added(house), added(house, "--disabled")

    lines = house.ok("cron", "list").splitlines()

    assert lines[0].split()[:3] == ["ID", "NAME", "SCHEDULE"]
    assert first in lines[1]
    assert "-01-01T00:00:00Z" in lines[1]
    assert lines[2].split()[0] == second
    assert "disabled" in lines[2]
    assert [cron["id"] for cron in house.json("cron", "list")] == [first, second]


def test_showing(house):
    cron_id = added(house, "--timezone", "Asia/Tokyo")

    text = house.ok("cron", "show", cron_id)

    assert f"id:       {cron_id}" in text
    assert "0 0 1 1 * (Asia/Tokyo)" in text
    assert '{"prompt":"Report"}' in text
    assert house.json("cron", "show", cron_id)["name"] == "Daily"


def test_updating_changes_what_is_given(house):
    cron_id = added(house)

    line = house.ok("cron", "update", cron_id, "--schedule", "0 10 2 1 *", "--priority", "high")

    cron = house.queue.get_cron_task(cron_id)
    assert (cron.cron_expr, cron.task_template.priority) == ("0 10 2 1 *", 10)
    assert (cron.name, cron.task_template.payload) == ("Daily", {"prompt": "Report"})
    assert line == f"{cron_id}  updated  next {cron.next_run:%Y-%m-%dT%H:%M:%SZ}\n"
    house.ok("cron", "update", cron_id, "--prompt", "Other", "--overlap", "skip")
    cron = house.queue.get_cron_task(cron_id)
    assert (cron.task_template.payload, cron.overlap) == ({"prompt": "Other"}, "skip")


def test_disabling_enabling_and_removing(house):
    cron_id, other = added(house), added(house)

    assert house.ok("cron", "disable", cron_id) == f"{cron_id}  disabled\n"
    assert house.ok("cron", "enable", cron_id).startswith(f"{cron_id}  enabled  next ")
    assert house.json("cron", "disable", cron_id)["enabled"] is False
    assert house.ok("cron", "remove", cron_id, other) == f"{cron_id}  removed\n{other}  removed\n"
    assert house.queue.list_cron_tasks() == []


def test_running(house):
    cron_id = added(house)

    task_id = house.ok("cron", "run", cron_id).strip()

    assert house.queue.wait(task_id, timeout=5).cron_id == cron_id


def test_a_schedule_is_tried_out_without_a_server():
    def nobody(server):
        raise AssertionError("no server is needed")

    result = run(nobody, "cron", "test", "--schedule", "0 9 * * 1-5", "--timezone", "Asia/Tokyo")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    for line in lines:
        day, at = line.split()
        assert day in ("Mon", "Tue", "Wed", "Thu", "Fri")
        assert at.endswith("T09:00+09:00")
    given = ("cron", "test", "--schedule", "*/5 * * * *", "--count", "2", "--output", "json")
    first, second = json.loads(run(nobody, *given).stdout)["next"]
    assert datetime.fromisoformat(second) - datetime.fromisoformat(first) == timedelta(minutes=5)
    assert datetime.fromisoformat(first) > datetime.now(UTC) - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("cron", "test", "--schedule", "0 9 * *"), 2, "has 4 fields, it must have five"),
        (("cron", "test", "--schedule", "0 0 31 2 *"), 2, "never occurs"),
        (("cron", "test", "--schedule", "@daily", "--timezone", "x"), 2, "is not a time zone"),
        (("cron", "test", "--schedule", "@daily", "--count", "0"), 2, "count must be"),
        (("cron", "add", "--name", "x"), 2, "Missing option '--schedule'"),
        (ADD, 2, "missing --prompt, --messages or --input"),
        ((*ADD, "--prompt", "x", "--priority", "urgent"), 2, "task_template.priority must be"),
        ((*ADD, "--prompt", "x", "--messages", "user:x"), 2, "prompt is not a field of a chat"),
        ((*ADD, "--prompt", "x", "--overlap", "no"), 2, "'no' is not one of 'allow', 'skip'"),
        (("cron", "update", "gone"), 2, "nothing to change: give at least one option"),
        (("cron", "update", "gone", "--name", "x"), 3, "there is no cron gone"),
        (("cron", "show", "gone"), 3, "there is no cron gone"),
        (("cron", "enable", "gone"), 3, "there is no cron gone"),
        (("cron", "disable", "gone"), 3, "there is no cron gone"),
        (("cron", "remove", "gone"), 3, "there is no cron gone"),
        (("cron", "run", "gone"), 3, "there is no cron gone"),
    ],
)
def test_mistakes_are_said_in_one_line(house, words, code, said):
    result = house.run(*words)

    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_that_fails_does_not_keep_the_others(house):
    cron_id = added(house)
    result = house.run("cron", "disable", "gone", cron_id)

    assert result.exit_code == 3
    assert result.stdout == f"{cron_id}  disabled\n"


def test_no_subcommand_shows_the_help():
    result = run(nullcontext, "cron")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: ollama-queue cron" in result.stderr
