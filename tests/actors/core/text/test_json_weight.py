"""JSON of too many values is refused before it is decoded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.text import json_weight
from ollama_queue.actors.core.text.json_weight import MOST_PARTS, MOST_VALUES, weigh

TRICKY = st.text(alphabet='ab"\\,{[]}\n:é', max_size=9)
VALUES = st.recursive(
    st.none() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TRICKY, inner, max_size=5),
    max_leaves=30,
)


def parts_of(value: Any) -> int:
    """How many texts, lists and objects it is made of."""
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(parts_of, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(parts_of, value))
    return int(isinstance(value, str))


def passes(raw: bytes) -> bool:
    try:
        for _ in weigh(raw, "the body", "body"):
            pass
    except Invalid:
        return False
    return True


@given(VALUES, st.booleans(), st.integers(1, 40))
def test_parts_are_counted_exactly_wherever_a_slice_ends(
    value: Any, ascii_only: bool, size: int
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_weight, "SLICE", size)
        patch.setattr(json_weight, "MOST_PARTS", parts_of(value))
        assert passes(raw)
        patch.setattr(json_weight, "MOST_PARTS", parts_of(value) - 1)
        assert not passes(raw)


@pytest.mark.parametrize(
    ("most", "value"), [(MOST_PARTS, b"{}"), (MOST_PARTS, b'"a"'), (MOST_VALUES, b"1")]
)
def test_as_many_as_the_limit_says_are_taken(most: int, value: bytes) -> None:
    assert passes(b"[" + b",".join([value] * (most - 1)) + b"]")
    assert not passes(b"[" + b",".join([value] * (most + 1)) + b"]")


def test_what_stands_within_a_text_is_one_value() -> None:
    assert passes(json.dumps({"prompt": '{"a": [1, 2, "\\"]}\n' * MOST_PARTS}).encode())


def test_the_sentence_says_how_many_may_be_there() -> None:
    with pytest.raises(
        Invalid, match="the body must not contain more than 100000 texts, lists"
    ) as no:
        list(weigh(b"[" * (MOST_PARTS + 1), "the body", "body"))
    assert no.value.field == "body"
