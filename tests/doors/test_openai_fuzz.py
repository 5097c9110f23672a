"""Random requests to the routes of OpenAI's API: no answer is a mistake of ours."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_queue.actors import prober
from tests.doors.test_fuzz import SLOW, Target, body, scalar, value, word

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
    least, prober.LEAST_S = prober.LEAST_S, 0.0  # between the looks that unknown models bring
    with tempfile.TemporaryDirectory() as folder:
        made = Target(Path(folder))
        yield made
        made.close()
    prober.LEAST_S = least


@settings(SLOW, max_examples=300)
@given(
    verb=st.sampled_from(POSTS),
    content=asked.map(msgspec.json.encode) | body,
    headers=st.fixed_dictionaries(
        {},
        optional={
            "HTTP_X_QUEUE_PRIORITY": st.sampled_from(["low", "15", "0", "\xff", ""]),
            "HTTP_X_QUEUE_TENANT": st.sampled_from(["t", "\xff", ""]),
            "HTTP_X_QUEUE_DETACH": st.sampled_from(["true", "False", "2", "\xff", ""]),
            "HTTP_IDEMPOTENCY_KEY": st.sampled_from(["k", "\xff", "x" * 300]),
        },
    ),
)
def test_no_request_finds_a_mistake_of_ours(
    target: Target, verb: str, content: bytes, headers: dict[str, Any]
) -> None:
    status, answer = target.call("POST", f"/v1/{verb}", b"", content, headers)

    assert status < 500 or (status in (502, 503) and b"the server has an error" not in answer)
    if status >= 400:
        told = msgspec.json.decode(answer)
        assert set(told) == {"error"}
        assert set(told["error"]) == {"message", "type", "param", "code"}
        assert told["error"]["message"]
