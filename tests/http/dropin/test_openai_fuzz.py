"""Random requests to the routes of OpenAI's API: no answer is a mistake of ours."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.native.test_native_fuzz import SLOW, Target, body, scalar, value, word
from tests.support.random_requests import eager_target, headers, is_no_mistake

POSTS = ["chat/completions", "completions", "embeddings"]
asked = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("m") | scalar,
        "messages": st.lists(st.fixed_dictionaries({"role": word, "content": value})) | value,
        "prompt": value,
        "input": st.lists(word) | value,
        "stream": scalar,
        "stream_options": st.fixed_dictionaries({}, optional={"include_usage": scalar}) | value,
        "service_tier": st.sampled_from(["flex", "auto"]) | value,
        "options": value,
        "tools": value,
        "type": scalar,
        "dialect": scalar,
        "payload": value,
        "priority": scalar,
    },
)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    yield from eager_target()


@settings(SLOW, max_examples=300)
@given(
    verb=st.sampled_from(POSTS),
    content=asked.map(msgspec.json.encode) | body,
    headers=headers,
)
def test_no_request_finds_a_mistake_of_ours(
    target: Target, verb: str, content: bytes, headers: dict[str, Any]
) -> None:
    status, answer = target.call("POST", f"/v1/{verb}", b"", content, headers)

    assert is_no_mistake(status, answer)
    if status >= 400:
        told = msgspec.json.decode(answer)
        assert set(told) == {"error"}
        assert set(told["error"]) == {"message", "type", "param", "code"}
        assert told["error"]["message"]
