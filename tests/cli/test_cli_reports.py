"""`history`, `usage` and `audit`."""

import pytest

from tests.support.fakes.model_server import Answer
from tests.support.harness.cli import CliHarness


@pytest.fixture
def house(tmp_path):
    with CliHarness(tmp_path) as house:
        yield house


def submit(house, *more):
    return house.ok("submit", "generate", "--model", "smollm2", "--prompt", "hi", "--wait", *more)


def test_history_shows_periods_in_which_something_happened(house):
    assert house.run("history").stderr == "Nothing happened.\n"
    submit(house)

    head, row = house.ok("history", "--span", "72h", "--by", "model").splitlines()
    assert head.split()[:4] == ["SINCE", "MODEL", "SUBMITTED", "COMPLETED"]
    assert row.split()[2] == "smollm2"
    periods = house.json("history", "--span", "90d")
    assert [each["completed"] for each in periods] == [1]


def test_usage_shows_a_row_for_each_group(house):
    submit(house)
    submit(house, "--tag", "nightly")

    lines = house.ok("usage", "--by", "tag,model").splitlines()
    assert lines[0].split()[:3] == ["TAG", "MODEL", "TASKS"]
    assert {tuple(line.split()[:3]) for line in lines[1:]} == {
        ("-", "smollm2", "1"),
        ("nightly", "smollm2", "1"),
    }
    assert house.json("usage")["rows"][0]["completed"] == 2


def test_what_is_left_of_budgets_is_shown_with_keys_and_usage(house):
    house.ok("keys", "add", "ops", "--role", "admin")
    house.ok("keys", "add", "ann", "--requests-per-day", "5")
    house.submitted(tenant="ann")

    head, row, _ = house.ok("keys", "list").splitlines()
    assert head.split()[4:6] == ["LIMITS", "LEFT"]
    assert row.split()[4:6] == ["requests_per_day=5", "requests_per_day=4"]
    shown = house.run("usage", "--tenant", "ann").stderr
    assert "requests_per_day: 4 of 5 left until" in shown
    assert "left until" not in house.run("usage").stderr


def test_usage_names_a_wrong_group(house):
    result = house.run("usage", "--by", "title")

    assert result.exit_code == 2
    assert "by must be one of model, backend, tenant, tag" in result.stderr


def test_audit_shows_who_changed_what(house):
    house.ok("pause")
    house.ok("resume")

    head, resumed, paused = house.ok("audit").splitlines()
    assert head.split() == ["AT", "WHO", "FROM", "ACTION", "TARGET", "DETAIL"]
    assert ("resume" in resumed, "pause" in paused) == (True, True)
    page = house.json("audit", "--action", "pause", "--limit", "1")
    assert [each["action"] for each in page["entries"]] == ["pause"]
    assert house.run("audit", "--who", "nobody").stderr == "No changes.\n"


def test_failures_are_grouped_and_a_group_selects_its_tasks(house):
    assert house.run("failures").stderr == "No failed tasks.\n"
    for number in (1, 2):
        house.fake.script(Answer(400, {"error": f"layer {number} is missing"}))
        house.run("submit", "generate", "--model", "smollm2", "--prompt", "hi", "--wait")

    result = house.run("failures")

    head, row = result.stdout.splitlines()
    assert head.split() == ["ID", "TASKS", "CODE", "BACKEND", "LAST", "ERROR"]
    group, count, code, backend = row.split()[:4]
    assert (count, code, backend) == ("2", "400", "ollama")
    assert row.endswith("layer # is missing")
    assert "retry --failure ID" in result.stderr
    assert [each["count"] for each in house.json("failures", "--limit", "1")] == [2]
    assert len(house.json("list", "--failure", group)) == 2
    assert house.ok("retry", "--failure", group, "--yes").startswith("2 ")
    assert house.run("list", "--failure", "other").exit_code == 2
