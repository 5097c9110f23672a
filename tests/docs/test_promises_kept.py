"""Each line of SECURITY.md's tables and of the guarantees names tests, and these are there."""

import ast
import re
from functools import cache

import pytest

from tests.support.servers.real_models import ROOT

NAME = re.compile(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`")
PAGES = {
    "SECURITY.md": "## Attacks, defences, tests",
    "docs/guarantees.md": "## The tests behind each line",
}


def rows(page: str) -> list[list[str]]:
    """The cells of each row of the tables of tests, without their heads."""
    text = (ROOT / page).read_text().partition(PAGES[page])[2]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("attack", "guarantee", "---|---|---", "---|---")]


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    names = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize("page", PAGES)
def test_each_line_names_tests_that_are_there(page: str) -> None:
    file = ""
    for row in rows(page):
        named = NAME.findall(row[-1])
        assert len(named) == len(re.findall(r"`[^`]+`", row[-1])) > 0, row
        for place, test in named:
            file = place or file
            assert (ROOT / file).is_file(), file
            assert test in names_in(file) if test else names_in(file), (file, test)


def test_each_guarantee_has_a_line() -> None:
    text = (ROOT / "docs/guarantees.md").read_text().partition("## The tests behind")[0]
    promised = re.findall(r"^\*\*([^*]+?)\.?\*\*", text, re.MULTILINE)

    assert [row[0] for row in rows("docs/guarantees.md")] == promised


def test_the_file_of_each_attack_in_the_folder_is_named() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    files = sorted(path.name for path in (ROOT / "tests/security").glob("test_*.py"))

    assert len(files) > 10
    assert [name for name in files if f"tests/security/{name}::" not in text] == []
