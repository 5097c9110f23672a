"""`help()` of every public name, and of every verb of the three classes, says something."""

import inspect
import pydoc
import re
import subprocess
import sys
from typing import Any

import pytest

import ollama_queue
from ollama_queue import AsyncClient, Client, QueueManager
from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.servers.real_models import ROOT

CLASSES = (QueueManager, Client, AsyncClient)
VERBS = [name for name in dir(QueueAPI) if not name.startswith("_")]


def public_members(cls: type) -> list[str]:
    """What a user may call or read on it, beside what Python's own classes bring along."""
    ours = [each for each in cls.__mro__ if each.__module__.startswith("ollama_queue")]
    names = {name for each in ours for name in vars(each) if not name.startswith("_")}
    fields = {*getattr(cls, "__struct_fields__", ()), *getattr(cls, "__members__", ())}
    return sorted(name for name in names - fields if has_help(vars_of(cls, name)))


def vars_of(cls: type, name: str) -> Any:
    return next(vars(each)[name] for each in cls.__mro__ if name in vars(each))


def has_help(member: Any) -> bool:
    """Whether `help` can say something of it: a plain value such as `code` explains itself."""
    return inspect.isroutine(member) or isinstance(member, property | type)


def said_of(member: Any) -> str:
    """What `help()` prints below the signature."""
    text = pydoc.plain(pydoc.render_doc(member))
    documentation = inspect.getdoc(member) or ""
    assert all(line.strip() in text for line in documentation.splitlines())
    return documentation


RECORDS = [
    name
    for name in sorted(ollama_queue.__all__)
    if hasattr(getattr(ollama_queue, name), "__struct_fields__")
]
MEMBERS = [
    (name, member)
    for name in sorted(ollama_queue.__all__)
    if isinstance(value := getattr(ollama_queue, name), type)
    for member in public_members(value)
]


@pytest.mark.parametrize("name", sorted(ollama_queue.__all__))
def test_a_public_name_explains_itself(name: str) -> None:
    value = getattr(ollama_queue, name)

    assert value.__doc__, "a docstring of its own, not that of a class above"
    assert len(value.__doc__.split()) > 3
    assert said_of(value) == inspect.cleandoc(value.__doc__)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_explains_its_fields(name: str) -> None:
    """Itself, or by naming the record that does."""
    said = told = inspect.getdoc(getattr(ollama_queue, name)) or ""
    for other in RECORDS:
        if other != name and f"`{other}`" in said:
            told += inspect.getdoc(getattr(ollama_queue, other)) or ""
    fields = getattr(ollama_queue, name).__struct_fields__

    assert [field for field in fields if not re.search(rf"\b{field}\b", told)] == []


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_what_a_public_class_has_explains_itself(name: str, member: str) -> None:
    said = said_of(vars_of(getattr(ollama_queue, name), member))

    assert len(said.split()) > 3


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_the_same_on_all_three_classes(cls: type, verb: str) -> None:
    said = said_of(getattr(cls, verb))
    written = inspect.getdoc(getattr(QueueAPI, verb))

    assert written is not None
    if verb != "close":  # ends a client otherwise than a queue
        assert said == written
    assert written.endswith(".")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_names_its_arguments_and_what_it_raises(verb: str) -> None:
    """Itself, or by naming the verb that says it."""
    function = getattr(QueueAPI, verb)
    said = inspect.getdoc(function) or ""
    others = [inspect.getdoc(getattr(QueueAPI, each)) for each in VERBS if f"`{each}`" in said]
    common = inspect.getdoc(QueueAPI) or ""
    told = "\n".join([said, common, *filter(None, others)])

    for name in list(inspect.signature(function).parameters)[1:]:
        assert f"`{name}" in told or f"{name}(" in told, name


def test_dir_lists_what_is_public() -> None:
    """Also in a program that has used none of it yet."""
    program = "import ollama_queue; print(*[n for n in dir(ollama_queue) if n[:2] != '__'])"
    listed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert listed.stdout.split() == sorted(ollama_queue.__all__)
