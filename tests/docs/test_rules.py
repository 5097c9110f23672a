"""The rules of the house that a machine can check."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "http", "cli")
ROOMS = (*PACKAGES, "tests", "benchmarks")
MOST_FILES = 18  # in a folder of the package: beyond, nobody reads the list

# Of the standard library, only what has no clock, chance, thread, log or file.
PURE = {
    "base64",
    "binascii",
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
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "types",
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


def test_routines_do_nothing_themselves() -> None:
    """They only say what is to be done; of a mailbox they know how it ends."""
    own = {f"ollama_queue.{room}" for room in ("actors.core", "actors.routines", "http")}
    allowed = (
        PURE | own | {"msgspec", "types", "weakref", "ollama_queue.actors.base.mailbox.Closed"}
    )
    allowed |= {"httpx.Response"}
    files = [*python_files("actors/routines"), ROOT / "http/clients/protocol.py"]
    strangers = [
        (path.name, name) for path in files for name in imports_of(path) if not is_in(name, allowed)
    ]

    assert "steps.py" in [path.name for path in files]
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


def module_of(path: Path) -> str:
    return ".".join(["ollama_queue", *path.relative_to(ROOT).with_suffix("").parts])


def folder_graph() -> dict[str, dict[str, str]]:
    """By folder of the package the folders it imports from, each with an import that shows it."""
    files = [path for package in PACKAGES for path in python_files(package)]
    folders = {module_of(path): module_of(path).rpartition(".")[0] for path in files}
    folders |= {folder: folder for folder in folders.values()}
    graph: dict[str, dict[str, str]] = {folder: {} for folder in folders.values()}
    for path in files:
        own = folders[module_of(path)]
        for name in imports_of(path):
            while name and name not in folders:
                name = name.rpartition(".")[0]
            if name and folders[name] != own:
                graph[own][folders[name]] = f"{path.relative_to(ROOT)} imports {name}"
    return graph


def test_no_two_folders_import_each_other() -> None:
    """Over any number of others: the graph of folders has no cycle."""
    graph = folder_graph()
    assert len(graph) > 20

    def cycle_from(folder: str, path: list[str]) -> list[str]:
        if folder in path:
            return [graph[a][b] for a, b in zip(path, [*path[1:], folder], strict=True)]
        if folder in checked:
            return []
        cycles = (cycle_from(imported, [*path, folder]) for imported in graph[folder])
        found = next(filter(None, cycles), [])
        checked.add(folder)
        return found

    checked: set[str] = set()
    assert next(filter(None, (cycle_from(folder, []) for folder in graph)), []) == []


@pytest.mark.parametrize(
    ("library", "only_in"),
    [
        ("rocksdict", "actors/store"),
        ("psycopg", "actors/store/postgres"),
        ("psycopg_pool", "actors/store/postgres"),
        ("bottle", "http/serving"),
        ("gevent", "http/serving"),
        ("geventwebsocket", "http/serving"),
        ("pykka", "actors/base"),
    ],
)
def test_a_library_has_one_home(library: str, only_in: str) -> None:
    homes = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in python_files(package)
        if any(is_in(name, {library}) for name in imports_of(path))
    }

    assert homes == {only_in}


def test_no_folder_is_too_full() -> None:
    folders = Counter(path.parent for package in PACKAGES for path in python_files(package))

    assert [str(folder) for folder, files in folders.items() if files > MOST_FILES] == []


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_has_a_name_that_says_nothing(room: str) -> None:
    empty = {"util", "utils", "common", "helper", "helpers", "misc"}

    assert [p for p in (ROOT / room).rglob("*") if p.stem.lower() in empty] == []


def class_names(room: str) -> Iterator[tuple[str, str]]:
    """The classes of a room, private ones and aliases of types among them; where each is."""
    for path in python_files(room):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield node.name, f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in tree.body:
            if isinstance(node, ast.Assign) and is_alias(node):
                yield ast.unparse(node.targets[0]), f"{path.relative_to(ROOT)}:{node.lineno}"


def is_alias(node: ast.Assign) -> bool:
    """`Json = dict[str, Any]`, but no `T = TypeVar("T")`, no `LIMIT = 3`."""
    name = ast.unparse(node.targets[0])
    is_var = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar"
    return name[0].isupper() and not name.isupper() and not is_var


@pytest.mark.parametrize("rooms", [PACKAGES, ["tests/support"]])
def test_no_class_has_the_name_of_another(rooms: Iterable[str]) -> None:
    """A name stands for one thing, wherever a reader meets it."""
    homes: dict[str, list[str]] = {}
    for room in rooms:
        for name, place in class_names(room):
            homes.setdefault(name, []).append(place)

    assert "FakeOllama" in homes or "EventBus" in homes
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_nothing_hides_pythons_own_http() -> None:
    found = [path.relative_to(ROOT) for path in ROOT.glob("**/http/__init__.py")]

    assert [path for path in found if path.parts[0] not in {".venv", "build"}] == []


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
