"""Tool calls in the forms in which servers send them."""

from typing import Any

import pytest

from ollama_queue.actors.executors.tool_calls import ToolCalls


def piece(index: Any = None, call_id: str = "", **function: Any) -> dict[str, Any]:
    return {"index": index, "id": call_id, "type": "function", "function": function}


def made(index: int, name: str, arguments: Any, **more: str) -> dict[str, Any]:
    return {**more, "function": {"index": index, "name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([], []),
        (
            [[piece(0, "c", name="f", arguments='{"a"')], [piece(0, arguments=":1}")]],
            [made(0, "f", {"a": 1}, id="c")],
        ),
        (  # a new id for each piece
            [[piece(0, "c", name="f", arguments="{")], [piece(0, "d", arguments="}")]],
            [made(0, "f", {}, id="c")],
        ),
        (  # name and id in each piece
            [[piece(0, "c", name="f", arguments="{")], [piece(0, "c", name="f", arguments="}")]],
            [made(0, "f", {}, id="c")],
        ),
        (  # whole calls with one and the same index
            [[piece(0, "c", name="f", arguments="{}")], [piece(0, "d", name="f", arguments="{}")]],
            [made(0, "f", {}, id="c"), made(1, "f", {}, id="d")],
        ),
        (  # no index at all
            [[piece(None, "c", name="f"), piece(None, "d", name="g")]],
            [made(0, "f", {}, id="c"), made(1, "g", {}, id="d")],
        ),
        ([[piece(0, name="f", arguments={"a": "\u00fc"})]], [made(0, "f", {"a": "\u00fc"})]),
        ([[piece(0, name="f", arguments="null")]], [made(0, "f", {})]),
        ([[piece(0, name="f", arguments=5)]], [made(0, "f", {})]),
        ([[5, None]], [made(0, "", {}), made(1, "", {})]),
    ],
)
def test_are_put_together(pieces: list[Any], calls: list[Any]) -> None:
    gathered = ToolCalls()
    for deltas in pieces:
        gathered.take(deltas)

    assert gathered.as_ollama() == calls


@pytest.mark.parametrize("arguments", ["{", "[]", "1", "[" * 10_000])
def test_must_have_arguments_that_are_an_object(arguments: str) -> None:
    gathered = ToolCalls()
    gathered.take([piece(0, name="f", arguments=arguments)])

    with pytest.raises((ValueError, RecursionError)):
        gathered.as_ollama()
