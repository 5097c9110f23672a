"""The rules of the house that a machine can check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("actors", "http", "cli", "tests", "benchmarks")
MAX_LINES = 400

# Of the standard library, only what has no clock, chance, thread, log or file.
PURE = {
    "bisect",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "typing",
    "urllib.parse",
    "zoneinfo",
}
CORE_MAY_USE = PURE | {"croniter", "msgspec", "sortedcontainers"}


def python_files(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if "__pycache__" not in p.parts)


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it; `from a import b` is `a.b`.

    What it imports relatively is named as it is in the package: `ollama_queue.actors.base.actor`.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join([*package_of(path, node.level), *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def package_of(path: Path, level: int) -> list[str]:
    """The package that an import with this many dots starts from: none of them, no package."""
    if not level:
        return []
    package = ["ollama_queue", *path.parent.relative_to(ROOT).parts]
    return package[: len(package) - level + 1]


def is_in(name: str, packages: set[str]) -> bool:
    """Whether a module, or what is imported from it, belongs to one of these packages."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def intruders(room: str, forbidden: set[str]) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), name)
        for path in python_files(room)
        for name in imports_of(path)
        if is_in(name, forbidden)
    ]


def test_the_core_imports_nothing_that_acts() -> None:
    files = python_files("actors/core")
    strangers = [
        (path.name, name)
        for path in files
        for name in imports_of(path)
        if not is_in(name, CORE_MAY_USE | {"ollama_queue.actors.core"})
    ]

    assert "plan.py" in [path.name for path in files]
    assert strangers == []


def test_the_core_does_not_ask_for_the_time() -> None:
    """`datetime` is allowed, but not its clock."""
    clocks = {"now", "utcnow", "today"}
    asks = [
        (path.name, node.lineno)
        for path in python_files("actors/core")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in clocks
    ]

    assert asks == []


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("actors", {"gevent", "geventwebsocket", "bottle", "click"}),
        ("actors", {"ollama_queue.http", "ollama_queue.cli", "ollama_queue.static"}),
        ("http", {"ollama_queue.cli"}),
    ],
)
def test_imports_point_inward(room: str, forbidden: set[str]) -> None:
    assert python_files(room)
    assert intruders(room, forbidden) == []


@pytest.mark.parametrize("room", (*ROOMS, "static"))
def test_no_file_is_too_long(room: str) -> None:
    files = [p for end in ("py", "js", "css", "html") for p in (ROOT / room).rglob(f"*.{end}")]
    assert files
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }

    assert long == {}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_has_a_name_that_says_nothing(room: str) -> None:
    empty = {"util", "utils", "common", "helper", "helpers", "misc"}

    assert [p for p in (ROOT / room).rglob("*") if p.stem.lower() in empty] == []


def test_nothing_hides_pythons_own_http() -> None:
    assert [p for p in ROOT.glob("**/http/__init__.py") if ".venv" not in p.parts] == []


def test_tests_are_no_package_and_have_names_of_their_own() -> None:
    names = [path.name for path in python_files("tests") if path.name != "conftest.py"]

    assert "__init__.py" not in names
    assert sorted(names) == sorted(set(names))


def test_the_check_of_imports_understands_relative_ones() -> None:
    assert package_of(ROOT / "actors" / "core" / "plan.py", 0) == []
    assert package_of(ROOT / "actors" / "core" / "plan.py", 1) == ["ollama_queue", "actors", "core"]
    assert package_of(ROOT / "actors" / "core" / "plan.py", 3) == ["ollama_queue"]


def test_the_check_of_imports_finds_them_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import os.path\ndef f():\n    from a.b import c, d\n    import e as g\n")

    assert list(imports_of(file)) == ["os.path", "a.b.c", "a.b.d", "e"]
    assert is_in("os.path", {"os"})
    assert not is_in("ossify", {"os"})
