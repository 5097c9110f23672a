"""The values of a list are found as its bytes come, however they are cut into pieces."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_queue import Invalid
from ollama_queue.actors.core.text import strict_json
from ollama_queue.actors.core.text.json_items import JsonItem, in_lines, in_list
from ollama_queue.actors.files.text_encoding import as_utf8

MOST = 1 << 20
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ['"', "\\", '\\"', "[", "]", "{}", ",", "\\\\", '",', "\r\n", "é", "😀"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
CUTS = st.lists(st.integers(0, 400), max_size=20)
WHITE = st.sampled_from([None, 1, "\t"])


def pieces(raw: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    return (raw[a:b] for a, b in itertools.pairwise(places))


def read(
    items: Callable[..., Iterator[JsonItem]], raw: bytes, cuts: list[int], most: int = MOST
) -> Any:
    text = as_utf8(pieces(raw, cuts), "the body", "body")
    found = items(text, "the body", "body", most)
    return [strict_json.decode(item, place, place) for place, item in found]


def whole(raw: bytes) -> Any:
    """What a decode of the whole gives; None where it is nothing that is taken."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(value, dict) and list(value) == ["tasks"]:
        value = value["tasks"]
    return value if isinstance(value, list) else None


@given(values=st.lists(VALUES, max_size=5), cuts=CUTS, white=WHITE, is_wrapped=st.booleans())
def test_a_list_in_pieces_is_as_a_whole(
    values: list[Any], cuts: list[int], white: Any, is_wrapped: bool
) -> None:
    raw = json.dumps({"tasks": values} if is_wrapped else values, indent=white).encode()

    assert read(in_list, raw, cuts) == values
    assert read(in_list, raw, list(range(len(raw)))) == values


@given(
    raw=st.lists(
        st.sampled_from(
            [*'[]{},:"\\ \n1a', "null", "tasks", '"tasks"', '{"tasks":[', "\\u0041", "é"]
        ),
        max_size=24,
    ).map(lambda parts: "".join(parts).encode())
    | st.binary(max_size=30),
    cuts=CUTS,
)
@example(b'{"tasks":[1],"tasks":[2]}', [])
@example(b'{"tasks":[1]', [])
@example(b'{"t\\u0061sks":[1]}', [4])
@example(b'["\\\\",1]', [3])
@example(b'["\\\\\\",1]', [3])
@example(b'["a\\"b",1]', [4])
@example(b"[1,]", [])
@example(b"[,1]", [])
@example(b"[1}", [])
@example(b"[{]", [])
@example(b"[1] 2", [])
@example(b"[1 2]", [])
@example(b"", [])
def test_garbage_is_invalid_or_what_a_whole_decode_makes_of_it(raw: bytes, cuts: list[int]) -> None:
    try:
        found = read(in_list, raw, cuts)
    except Invalid as refused:
        assert refused.message and refused.field
        assert whole(raw) is None or raw.count(b"tasks") > 1
    else:
        assert found == whole(raw)


@given(
    values=st.lists(VALUES, max_size=5),
    cuts=CUTS,
    ending=st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \r\n\r\n"]),
    is_ended=st.booleans(),
)
def test_lines_end_in_any_way(
    values: list[Any], cuts: list[int], ending: str, is_ended: bool
) -> None:
    raw = (ending.join(map(json.dumps, values)) + ending * is_ended).encode()

    assert read(in_lines, raw, cuts) == values
    assert read(in_lines, raw, list(range(len(raw)))) == values


@given(raw=st.binary(max_size=40), cuts=CUTS)
def test_garbage_in_lines_is_invalid(raw: bytes, cuts: list[int]) -> None:
    try:
        read(in_lines, raw, cuts)
    except Invalid as refused:
        assert refused.message and refused.field


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("cut", range(12))
def test_a_bad_line_has_its_number(ending: str, cut: int) -> None:
    raw = ending.join(["1", "", "2", "x"]).encode()

    with pytest.raises(Invalid, match="line 4 must be JSON"):
        read(in_lines, raw, [cut])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("cuts", [[], [1, 2, 3, 7], list(range(200))])
def test_what_windows_writes_is_read(encoding: str, cuts: list[int]) -> None:
    values = [{"a": "é😀"}, 2]

    assert read(in_list, json.dumps(values, ensure_ascii=False).encode(encoding), cuts) == values
    text = "\r\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    assert read(in_lines, text.encode(encoding), cuts) == values


def test_half_a_character_is_named() -> None:
    with pytest.raises(Invalid, match="must be text in UTF-8 or UTF-16"):
        read(in_list, "[1]".encode("utf-16")[:-1], [])


@pytest.mark.parametrize("items", [in_list, in_lines])
def test_a_value_may_not_be_endless(items: Callable[..., Iterator[JsonItem]]) -> None:
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        yield b'["a", "' if items is in_list else b'"a"\n"'
        while True:
            asked += 1
            yield b"x" * 1000

    with pytest.raises(Invalid, match="is larger than 5000 bytes") as refused:
        list(items(endless(), "the body", "body", 5000))

    assert refused.value.field == ("tasks[1]" if items is in_list else "line 2")
    assert asked <= 6


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", 'the body must be a list of tasks, or {"tasks": […]}'),
        (b'{"task": []}', 'the body must be a list of tasks, or {"tasks": […]}'),
        (b'{"tasks": 5}', 'the body must be a list of tasks, or {"tasks": […]}'),
        (b"[1, 2", "the body must be JSON: it ends within tasks[1]"),
        (b"[1] x", "the body must be JSON: unexpected data after the list"),
        (b'{"tasks": [1], "x": 1}', "the body must have no field besides tasks"),
        (b'{"tasks": [1]]', "the body must be JSON: unexpected data after the list"),
        (b"[1, tru]", "tasks[1] must be JSON"),
        (b"[1,]", "tasks[1] must be JSON"),
    ],
)
def test_a_mistake_is_named(raw: bytes, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(in_list, raw, [])

    assert refused.value.message.startswith(words)
