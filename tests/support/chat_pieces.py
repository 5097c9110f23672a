"""Pieces of streamed chat completions, as model servers send them."""

from typing import Any

from hypothesis import strategies as st


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def call(index: int, arguments: str, **start: str) -> dict[str, Any]:
    """A piece of a call; `start` is its id and name, in its first piece."""
    function = {"arguments": arguments} | ({"name": start["name"]} if start else {})
    head = {"id": start["id"], "type": "function"} if start else {}
    return piece(tool_calls=[{"index": index, **head, "function": function}])


def usage(given: int, made: int) -> dict[str, Any]:
    counts = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    return {"object": "chat.completion.chunk", "model": "m", "choices": [], "usage": counts}


_TALK = st.one_of(
    st.builds(lambda text: piece(content=text), st.text(max_size=5)),
    st.builds(lambda text: piece(reasoning=text), st.text(max_size=5)),
    st.just(piece(role="assistant", content=None)),
)


@st.composite
def completions(draw: Any) -> list[dict[str, Any]]:
    """All pieces of one reply: thoughts, texts and calls in any order, each call in pieces."""
    pieces: list[dict[str, Any]] = []
    for index, kind in enumerate(draw(st.lists(st.sampled_from(["talk", "call"]), max_size=6))):
        if kind == "talk":
            pieces += draw(st.lists(_TALK, min_size=1, max_size=4))
        else:
            pieces.append(call(index, draw(st.text(max_size=3)), id=f"call_{index}", name="f"))
            pieces += [
                call(index, text) for text in draw(st.lists(st.text(max_size=3), max_size=3))
            ]
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return [*pieces, piece(finish), usage(3, len(pieces))]
