"""`ollama-queue list`: its options, and how to see the rest."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import chat_task
from tests.support.harness.cli import CliHarness


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CliHarness]:
    with CliHarness(tmp_path) as made:
        made.queue.pause()
        yield made


def listed(house: CliHarness, *args: str) -> list[str]:
    return [task["id"] for task in house.json("list", *args)]


def test_options_narrow_the_list_down(house: CliHarness) -> None:
    first = house.submitted("the sky", tags=["a"], tenant="acme")
    second = house.submitted("the sea", priority="high")
    made = house.queue.submit_batch([chat_task("m", [{"role": "user", "content": "hello"}])])
    batch_id, (third,) = made.batch_id, made.task_ids
    house.queue.cancel_task(second)
    at = house.queue.get_task(second).created_at.isoformat()

    for args, expected in [
        (("--status", "pending"), [third, first]),
        (("--status", "cancelled", "--status", "pending", "--model", "m"), [third, second, first]),
        (("--type", "embed"), []),
        (("--priority", "high"), [second]),
        (("--priority", "5", "--priority", "10"), [third, second, first]),
        (("--batch", batch_id), [third]),
        (("--cron", batch_id), []),
        (("--tenant", "acme"), [first]),
        (("--tag", "a", "--tag", "b"), [first]),
        (("--waiting-for", "paused"), [third, first]),
        (("--waiting-for", "backend", "--waiting-for", "slot"), []),
        (("--search", "SEA"), [second]),
        (("-q", "the s", "--since", at), [second]),
        (("--until", at), [first]),
        (("--sort", "priority"), [second, third, first]),
        (("--sort", "ended"), [second]),
        (("--limit", "1", "--offset", "1"), [second]),
    ]:
        assert listed(house, *args) == expected, args


def test_the_last_line_says_how_to_go_on(house: CliHarness) -> None:
    ids = [house.submitted() for _ in range(3)][::-1]

    result = house.run("list", "--limit", "2")

    note = re.fullmatch(r"2 of 3; for more, repeat this with --cursor (\S+)\n", result.stderr)
    assert note is not None
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ids[:2]
    assert listed(house, "--limit", "2", "--cursor", note[1]) == ids[2:]
    assert house.run("list", "--limit", "3").stderr == ""
    assert house.run("list", "--limit", "2", "--quiet").stderr == ""
    assert house.run("list", "--limit", "2", "--output", "json").stderr == result.stderr


def test_a_search_reads_on_until_it_has_found_enough(
    house: CliHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_queue.actors.store.page_reader.FEW", 1)
    wanted = house.submitted("needle")
    for _ in range(3):
        house.submitted("hay")

    assert listed(house, "-q", "needle") == [wanted]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--since", "yesterday"), "since must be a time with a zone"),
        (("--priority", "99"), "priority must be low, normal, high"),
        (("--cursor", "abc"), "cursor must come from an earlier page"),
        (("--sort", "size"), "'size' is not one of 'created'"),
        (("--limit", "1001"), "limit must be a whole number from 1 to 1000"),
    ],
)
def test_mistakes_are_usage_errors(house: CliHarness, args: tuple[str, ...], words: str) -> None:
    result = house.run("list", *args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
