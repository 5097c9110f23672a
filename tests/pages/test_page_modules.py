"""How the page's modules depend on each other, and what they export."""

import json
import posixpath
import re
import subprocess
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter

from ollama_queue.actors.core.model.model_names import model_name
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.http.native.page_files import files
from tests.support.model_spellings import OTHERS, SAME
from tests.support.servers.real_models import ROOT

MAX_FILES = 15
IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:const|let|class|function\*?) (\w+)", re.MULTILINE)


def modules() -> dict[str, str]:
    """The text of each module, by its path in `static/`."""
    return {name: file.body.decode() for name, file in files().items() if name.endswith(".js")}


def imports(name: str, text: str) -> set[str]:
    folder = posixpath.dirname(name)
    return {posixpath.normpath(posixpath.join(folder, path)) for path in IMPORT.findall(text)}


def assert_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        raise AssertionError(" imports ".join(reversed(cycle))) from None


def test_the_imports_are_read() -> None:
    text = 'import { a } from "./a.js";\nimport {\n  b,\n  c,\n} from "../lib/b.js";\n'

    assert imports("views/x.js", text) == {"views/a.js", "lib/b.js"}
    assert "lib/dom.js" in imports("app.js", modules()["app.js"])


def test_no_modules_import_each_other() -> None:
    assert_no_cycle({name: imports(name, text) for name, text in modules().items()})


def test_no_folders_import_each_other() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, text in modules().items():
        folder = posixpath.dirname(name)
        graph[folder] |= {posixpath.dirname(path) for path in imports(name, text)} - {folder}

    assert {"lib", "server", "state", "components", "views"} <= graph.keys()
    assert graph["lib"] == set()
    assert_no_cycle(graph)


def test_the_page_takes_every_filter() -> None:
    listed = re.search(
        r"const LIST_FILTERS = \[(.*?)\];", modules()["state/task_list.js"], re.DOTALL
    )
    assert listed is not None
    taken = {*re.findall(r'"(\w+)"', listed[1]), "since", "until", "q", "sort"}
    of_pages = {"limit", "offset", "cursor", "include"}

    assert taken | of_pages == set(TaskFilter.__struct_fields__)


def test_no_folder_is_crowded() -> None:
    sizes = Counter(posixpath.dirname(name) for name in files())

    assert {folder: size for folder, size in sizes.items() if size > MAX_FILES} == {}


def test_no_name_is_exported_twice_and_no_file_name_is_used_twice() -> None:
    exported = Counter(name for text in modules().values() for name in EXPORT.findall(text))
    named = Counter(posixpath.basename(name) for name in files())

    assert [name for name, count in (exported + named).items() if count > 1] == []
    assert exported["h"] == 1


def test_every_export_is_used_elsewhere() -> None:
    text_of = modules()
    unused = [
        (path, name)
        for path, text in text_of.items()
        for name in EXPORT.findall(text)
        if not any(
            re.search(rf"\b{name}\b", other)
            for other_path, other in text_of.items()
            if other_path != path
        )
    ]

    assert unused == []


def test_names_of_models_are_read_as_the_server_reads_them() -> None:
    names = [*SAME, *OTHERS]
    script = f"""
        import {{ canonicalModel }} from {json.dumps(str(ROOT / "static/lib/model_names.js"))};
        console.log(JSON.stringify({json.dumps(names)}.map(canonicalModel)));
    """
    command = ["node", "--input-type=module", "-e", script]
    node = subprocess.run(command, capture_output=True, check=True)

    assert json.loads(node.stdout) == [model_name(name) for name in names]
