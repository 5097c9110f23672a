"""docs/performance.md has a place for each table, and shows what was measured."""

import re

import pytest

from benchmarks.harness import Row
from benchmarks.performance import DOCUMENT, PARTS, SIGHTS, Sight, fill, glance

TEXT = DOCUMENT.read_text()
TABLES = [*PARTS, "machine", "glance", "peers: versions", "peers: ratios", "peers: figures"]


def test_a_table_takes_the_place_of_the_one_before() -> None:
    text = "a\n<!-- measured: x -->\nold\nold\n<!-- end -->\nb <!-- measured: y -->\n<!-- end -->\n"

    filled = fill(text, {"x": r"| new \1 |"})

    assert filled == text.replace("old\nold", r"| new \1 |")


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="x"):
        fill("", {"x": "| new |"})


def test_the_document_has_a_place_for_each_table_and_no_other() -> None:
    fill(TEXT, dict.fromkeys(TABLES, ""))

    assert sorted(re.findall("<!-- measured: (.*) -->", TEXT)) == sorted(TABLES)


def test_no_table_is_empty() -> None:
    assert not re.search(r"<!-- measured: .* -->\s*<!-- end -->", TEXT)


def test_what_a_user_notices_is_in_the_tables() -> None:
    row = Row()
    for cost in (50.0, 40.0, 80.0):
        row.add(cost, {"raw: directly": 40.0})

    lines = glance({part: {sight.row: row for sight in SIGHTS} for part in PARTS}).splitlines()

    assert len(lines) == len(SIGHTS) + 2
    assert "| … 400 at once | 1.25 times (1 … 2) |" in lines
    assert any(line.endswith("| 400 streams (250 … 500) |") for line in lines)


@pytest.mark.parametrize("sight", SIGHTS, ids=lambda sight: sight.words)
def test_the_rows_it_names_are_measured(sight: Sight) -> None:
    what, unit = sight.row
    assert re.search(rf"^\| {re.escape(what)} +\| {re.escape(unit)} +\|", TEXT, re.MULTILINE)
