"""What the documents say of the code is compared with the code."""

import re
from typing import get_args

from ollama_queue import QueueManager
from ollama_queue.actors.core import messages
from ollama_queue.actors.core.model.lifecycle import NEXT
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.http.serving.app import create_app
from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()


def test_the_lifecycle_is_drawn_as_it_is() -> None:
    drawn = re.search(r"<!-- lifecycle.*?-->\n```\n(.*?)```", TEXT, re.DOTALL)
    assert drawn is not None
    table = {}
    for line in drawn[1].splitlines():
        now, _, after = line.partition("->")
        table[Status(now.strip())] = frozenset(map(Status, after.split()))
    assert table == NEXT


def test_every_message_is_named() -> None:
    for name, union in vars(messages).items():
        if name.startswith("To"):
            for message in get_args(union) or (union,):
                assert re.search(rf"\b{message.__name__}\b", TEXT), f"{name}: {message.__name__}"


def test_every_folder_has_its_row_with_its_files() -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \| .* \| `([\w ]+)` \|$", TEXT, re.MULTILINE)
    listed = {folder: sorted(files.split()) for folder, files in rows}
    paths = [
        path for package in ("actors", "http", "cli") for path in ROOT.glob(f"{package}/**/*.py")
    ]
    paths += [path for ending in ("js", "css") for path in ROOT.glob(f"static/**/*.{ending}")]
    there: dict[str, list[str]] = {}
    for path in sorted(paths):
        if path.stem != "__init__":
            there.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.stem)
    assert listed == there


def test_what_the_glossary_names_is_there() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \|$", text, re.MULTILINE)[1:]
    assert len(rows) >= 25
    sources = [p.read_text() for room in ("actors", "http") for p in ROOT.glob(f"{room}/**/*.py")]
    classes = set(re.findall(r"^class (\w+)", "\n".join(sources), re.MULTILINE))
    named = re.findall(r"`([\w/.]+)`", " ".join(about for _, about in rows))
    for name in named:
        if name[0].isupper():
            assert name in classes, name
        elif name.endswith(".py"):
            assert (ROOT / name).is_file(), name


def test_every_route_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for route in create_app(QueueManager()).routes:
        shown = re.sub(r"<\w+(:path)?>", "{id}", route.rule)
        assert shown in readme or "/static/" in shown, shown
