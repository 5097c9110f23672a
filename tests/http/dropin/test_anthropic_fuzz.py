"""Random requests to the routes of Anthropic's API: no answer is a mistake of ours."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.native.test_native_fuzz import SLOW, Target, body, scalar, value, word
from tests.support.anthropic_messages import image
from tests.support.random_requests import eager_target, headers, is_no_mistake

PATHS = ["/v1/messages", "/v1/messages/count_tokens"]
block = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "tool_use", "tool_result", "thinking", "document"])},
    optional={
        "text": word,
        "thinking": word,
        "id": word,
        "name": word,
        "input": st.dictionaries(word, value) | value,
        "tool_use_id": word,
        "content": word | value,
        "source": st.just(image()["source"]) | value,
    },
)
content = word | st.lists(block | value)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]) | value, "content": content}
)
tool = st.fixed_dictionaries({"name": word, "input_schema": st.dictionaries(word, value)})
asked = st.fixed_dictionaries(
    {"model": st.just("m") | scalar, "max_tokens": st.just(9) | scalar},
    optional={
        "messages": st.lists(message) | value,
        "system": content | value,
        "stream": st.booleans() | scalar,
        "tools": st.lists(tool) | value,
        "tool_choice": value,
        "thinking": st.fixed_dictionaries({"type": word}) | value,
        "metadata": st.fixed_dictionaries({"user_id": scalar}) | value,
        "output_config": value,
        "stop_sequences": st.lists(word) | value,
        "temperature": scalar,
        "top_p": scalar,
        "top_k": scalar,
    },
)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    yield from eager_target()


@settings(SLOW, max_examples=300)
@given(
    path=st.sampled_from(PATHS),
    content=asked.map(msgspec.json.encode) | body,
    headers=headers,
)
def test_no_request_finds_a_mistake_of_ours(
    target: Target, path: str, content: bytes, headers: dict[str, Any]
) -> None:
    status, answer = target.call("POST", path, b"beta=true", content, headers)

    assert is_no_mistake(status, answer)
    if status >= 400:
        told = msgspec.json.decode(answer)
        assert set(told) == {"type", "error", "request_id"}
        assert set(told["error"]) == {"type", "message"}
        assert told["error"]["message"]
