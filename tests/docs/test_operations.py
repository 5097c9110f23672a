"""What the page for operators says of the log is what the code says, and it says all of it."""

import ast
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
TABLE = TEXT.partition("## What the log says")[2].partition("\n## ")[0]
LINES = [
    line
    for row in TABLE.splitlines()
    if row.startswith("| `")
    for line in re.findall("`([^`]+)`", row.split(" | ")[0])
]
LOUD = ("warning", "error", "critical", "exception")


def loud_calls(path: Path) -> Iterator[tuple[ast.expr, ast.AST]]:
    """The text of each warning or error that a file logs, and the function it is in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func)
            if re.fullmatch(rf"log\.({'|'.join(LOUD)})|_warn", called):
                yield node.args[0], function
            if any(ast.unparse(each) in [f"log.{name}" for name in LOUD] for each in node.args):
                yield node.args[1], function  # a greenlet's


def constants() -> dict[str, str]:
    """The texts that have a name anywhere."""
    return {
        node.targets[0].id: node.value.value
        for room in ("actors", "http")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def texts(argument: ast.expr, function: ast.AST, named: dict[str, str]) -> list[str]:
    """What an argument may be: a text, or what its variable has been set to."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    assert isinstance(argument, ast.Name), ast.unparse(argument)
    if argument.id in named:
        return [named[argument.id]]
    return [
        str(node.value.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == argument.id
        and isinstance(node.value, ast.Constant)
    ]


@cache
def logged() -> set[str]:
    """All warnings and errors of the server, with … for what differs each time."""
    named = constants()
    found = {
        re.sub(r"%[\d.]*\w", "…", text).replace("%%", "%").split("\n")[0]
        for room in ("actors", "http")
        for path in (ROOT / room).rglob("*.py")
        for argument, function in loud_calls(path)
        for text in texts(argument, function, named)
    }
    return {text for text in found if re.search("[a-z]{3}", text)}  # the rest is a path, or quoted


def fits(text: str, form: str) -> bool:
    return re.fullmatch(re.escape(form).replace("…", ".+"), text) is not None


def are_alike(text: str, line: str) -> bool:
    return fits(text, line) or fits(line, text)


def test_each_warning_and_error_is_explained() -> None:
    assert [
        text for text in sorted(logged()) if not any(map(partial(are_alike, text), LINES))
    ] == []


# Warnings that are composed elsewhere, and quotes of what other programs wrote.
COMPOSED = {
    "… has keys or passwords, and other users can read it (…): chmod 600 it",
    "METHOD PATH",
}


def test_each_line_that_is_explained_is_logged() -> None:
    lines = {*LINES} - COMPOSED
    assert [
        line for line in sorted(lines) if not any(map(partial(are_alike, line), logged()))
    ] == []


def test_there_are_some() -> None:
    assert len(LINES) >= 30
    assert len(logged()) >= 25
