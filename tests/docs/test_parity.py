"""The page of promises kept names tests that exist, and leaves no promise out."""

import ast
import re
from functools import cache
from typing import NamedTuple

import pytest

from tests.docs.promises import PROMISES
from tests.support.servers.real_models import ROOT

PAGE = (ROOT / "docs" / "parity.md").read_text()
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


class Row(NamedTuple):
    section: str
    promise: str
    ours: str
    shown_by: str
    note: str


def rows() -> list[Row]:
    found = []
    section = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.endswith("| ours | shown by | note |"):
            cells = [cell.strip() for cell in line.strip("|").split(" |")]
            assert len(cells) == 4, f"{section}: {line}"
            found.append(Row(section, *cells))
    return found


ROWS = rows()


@cache
def names_in(path: str) -> set[str]:
    """The names of a file's tests, those of a class as `Class::test`."""
    names = set()
    for node in ast.parse((ROOT / path).read_text(), path).body:
        if isinstance(node, FUNCTION):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{each.name}" for each in node.body if isinstance(each, FUNCTION)
            }
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}: {row.promise}")
def test_a_row_says_what_it_must(row: Row) -> None:
    assert row.promise and row.ours
    named = TEST.findall(row.shown_by)
    assert named, "no test shows it"
    assert TEST.sub("", row.shown_by).strip(", ") == ""
    for path, name in named:
        assert (ROOT / path).exists(), path
        assert name in names_in(path), f"{path} has no {name}"


@pytest.mark.parametrize("section", PROMISES)
def test_no_promise_is_left_out(section: str) -> None:
    kept = [row.promise.replace("`", "") for row in ROWS if row.section == section]

    assert len(kept) == len(set(kept))
    assert set(PROMISES[section]) == set(kept)


def test_the_sections_are_those_of_the_promises() -> None:
    assert list(dict.fromkeys(row.section for row in ROWS)) == list(PROMISES)


def test_what_the_page_shows_is_there() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert linked
    for target in linked:
        assert (ROOT / "docs" / target).exists(), target
    for row in ROWS:
        if row.section == "Code examples":
            for file in re.findall(r"`([\w.]+)`", row.ours):
                assert (ROOT / "docs" / "examples" / file).exists(), file
