"""The tree of errors is drawn as the classes are, in `help(QueueError)` and in the documents."""

import inspect
import re

import pytest

import ollama_queue
from ollama_queue import QueueError
from tests.support.servers.real_models import ROOT

IN_HELP = inspect.getdoc(QueueError) or ""
IN_DOCUMENTS = (ROOT / "docs" / "python.md").read_text()
BRANCH = re.compile(r"^(?P<lead>(?:[│ ]   )*)(?:[├└]── )?(?P<name>\w+)", re.MULTILINE)


def drawing(text: str) -> str:
    found = re.search(r"^```\n(QueueError\n.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def parents(tree: str) -> dict[str, str | None]:
    """Each class that is drawn, with the one that it hangs from."""
    above: list[str] = []
    found: dict[str, str | None] = {}
    for line in tree.splitlines():
        branch = BRANCH.match(line)
        assert branch is not None, line
        depth = len(branch["lead"]) // 4 + ("── " in line)
        del above[depth:]
        found[branch["name"]] = above[-1] if above else None
        above.append(branch["name"])
    return found


def public_errors() -> dict[str, str | None]:
    found: dict[str, str | None] = {"TimeoutError": None}
    for name in ollama_queue.__all__:
        value = getattr(ollama_queue, name)
        if isinstance(value, type) and issubclass(value, Exception):
            base = value.__base__
            assert base is not None
            found[name] = None if base is Exception else base.__name__
    return found


@pytest.mark.parametrize("text", [IN_HELP, IN_DOCUMENTS], ids=["help", "docs/python.md"])
def test_the_tree_of_errors_is_drawn_as_it_is(text: str) -> None:
    assert parents(drawing(text)) == public_errors()


def test_both_drawings_are_one() -> None:
    assert drawing(IN_HELP) == drawing(IN_DOCUMENTS)
