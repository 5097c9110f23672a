"""Random requests to the routes of responses: no answer is a mistake of ours, and none is late."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.native.test_native_fuzz import SLOW, Target, body, scalar, value, word
from tests.support.random_requests import eager_target, headers, is_no_mistake

NAMES = "type role content text input_text input_image image_url call_id name arguments output id"
KINDS = "message function_call function_call_output reasoning input_text output_text function user"
named = st.sampled_from(KINDS.split()) | word
item = st.dictionaries(st.sampled_from(NAMES.split()), named | scalar, max_size=5)
items = st.lists(item | st.fixed_dictionaries({"role": named, "content": st.lists(item) | value}))
asked = st.fixed_dictionaries(
    {"model": st.just("m"), "input": word | items},
    optional={
        "stream": scalar,
        "background": st.booleans() | scalar,
        "store": scalar,
        "instructions": scalar,
        "tools": st.lists(item) | value,
        "tool_choice": st.sampled_from(["auto", "none", "required"]) | item,
        "text": st.fixed_dictionaries({"format": item | value}) | value,
        "reasoning": st.fixed_dictionaries({"effort": word}) | value,
        "metadata": st.dictionaries(word, scalar) | value,
        "max_output_tokens": scalar,
        "top_logprobs": scalar,
        "include": value,
        "service_tier": st.sampled_from(["flex", "auto"]) | value,
        "previous_response_id": scalar,
    },
)
KNOWN = "resp_" + "0" * 32
ids = st.sampled_from([KNOWN, KNOWN[:-1], KNOWN.upper(), "known", "%2e%2e"]) | word
query = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.sampled_from(["true", "false", "1", ""]) | word,
        "starting_after": st.sampled_from(["0", "7", "999999999", "-1", "x"]),
        "limit": st.sampled_from(["1", "0", "101", "x"]),
        "order": st.sampled_from(["asc", "desc", "x"]),
        "after": word,
        "include[]": word,
    },
)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    yield from eager_target()


@settings(SLOW, max_examples=300)
@given(content=asked.map(msgspec.json.encode) | body, headers=headers)
def test_no_request_finds_a_mistake_of_ours(
    target: Target, content: bytes, headers: dict[str, Any]
) -> None:
    status, answer = target.call("POST", "/v1/responses", b"", content, headers)

    assert is_no_mistake(status, answer)
    if status >= 400:
        told = msgspec.json.decode(answer)["error"]
        assert set(told) == {"message", "type", "param", "code"}
        assert told["message"]


@settings(SLOW, max_examples=300)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    response_id=ids,
    verb=st.sampled_from(["", "/cancel", "/input_items"]),
    parameters=query,
)
def test_no_request_about_a_response_finds_one(
    target: Target, method: str, response_id: str, verb: str, parameters: dict[str, str]
) -> None:
    if response_id == "known":
        content = msgspec.json.encode({"model": "m", "input": "hi", "background": True})
        response_id = msgspec.json.decode(
            target.call("POST", "/v1/responses", b"", content, {})[1]
        )["id"]
    asked = "&".join(f"{name}={value}" for name, value in parameters.items())
    path = f"/v1/responses/{response_id}{verb}"
    status, answer = target.call(method, path, asked.encode("utf-8", "replace"), b"", {})

    assert is_no_mistake(status, answer), answer
    if status >= 400:
        assert set(msgspec.json.decode(answer)["error"]) == {"message", "type", "param", "code"}
