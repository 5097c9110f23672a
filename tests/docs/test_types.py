"""What type checkers say of programs that use the package as pip installs it."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import get_type_hints

import pytest

from ollama_queue import QueueAPI
from ollama_queue.actors.core.intake.submission import PAYLOAD_FIELDS
from ollama_queue.actors.core.intake.task_fields import ChatFields, EmbedFields, GenerateFields
from ollama_queue.actors.core.model.tasks import NewTask
from ollama_queue.actors.embedded.options import _KEYS, Options
from tests.support.servers.installed_clients import node_folder
from tests.support.servers.real_models import ROOT

HERE = Path(__file__).parent
PROGRAM, MISTAKES = HERE / "typed_program.py", HERE / "typed_mistakes.py"
PROTOCOL = HERE / "protocol_mistakes.py"
# Given by the makers themselves.
MADE = {"type", "model", "messages", "prompt", "input"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the package lies as a wheel lays it, beside what it depends on."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "venv", symlinks=True)
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    package = site / "ollama_queue"
    package.mkdir()
    for room in ("actors", "http", "cli", "static"):
        (package / room).symlink_to(ROOT / room)
    (package / "__init__.py").symlink_to(ROOT / "ollama_queue.py")
    (package / "testing.py").symlink_to(ROOT / "testing.py")
    (package / "py.typed").symlink_to(ROOT / "actors" / "py.typed")
    ours = [each for each in sys.path if each.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(ours))
    for program in (PROGRAM, MISTAKES, PROTOCOL):
        (home / program.name).symlink_to(program)
    return home


def mypy(home: Path, program: Path) -> set[int]:
    """The lines that it finds wrong."""
    python = home / "venv" / "bin" / "python"
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program.name],
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert told.returncode in (0, 1), told.stdout + told.stderr
    print(told.stdout)
    return {int(line) for line in re.findall(r"^\w+\.py:(\d+): error", told.stdout, re.M)}


def pyright(home: Path, program: Path) -> set[int]:
    script = node_folder() / "node_modules/pyright/index.js"
    (home / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "venvPath": ".", "venv": "venv"})
    )
    told = subprocess.run(
        ["node", script, "--outputjson", program.name],
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert told.returncode in (0, 1), told.stdout + told.stderr
    print(told.stdout)
    found = json.loads(told.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers_find_nothing_in_a_right_program(home: Path, checker: object) -> None:
    assert callable(checker)
    assert checker(home, PROGRAM) == set()


def test_the_right_program_uses_each_verb() -> None:
    program = PROGRAM.read_text()
    verbs = {name for name in dir(QueueAPI) if not name.startswith("_")}
    unused = [name for name in verbs if not re.search(rf"\bqueue\.{name}\b", program)]
    assert unused == []


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers_find_each_mistake(home: Path, checker: object) -> None:
    assert callable(checker)
    assert checker(home, MISTAKES) == wrong_lines(MISTAKES)


def test_mypy_finds_each_mistake_of_the_protocol_between_actors(home: Path) -> None:
    """Who asks gets what the command names, and who answers gives nothing else."""
    assert mypy(home, PROTOCOL) == wrong_lines(PROTOCOL)


def wrong_lines(program: Path) -> set[int]:
    lines = enumerate(program.read_text().splitlines(), 1)
    return {number for number, line in lines if line.endswith("# wrong")}


@pytest.mark.parametrize(
    "kind,fields", [("chat", ChatFields), ("generate", GenerateFields), ("embed", EmbedFields)]
)
def test_the_fields_of_tasks_are_those_that_are_taken(kind: str, fields: type) -> None:
    taken = {*NewTask.__struct_fields__, *PAYLOAD_FIELDS[kind]}

    assert set(get_type_hints(fields)) == taken - MADE


def test_the_options_are_those_that_are_taken() -> None:
    assert set(get_type_hints(Options)) == {*_KEYS, "retry_config"}
