"""Random requests to the routes of OpenAI's API: no answer is a mistake of ours."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_queue import Invalid
from ollama_queue.actors.core.intake.batch_jobs import ENDPOINTS, LineChecks
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


names = st.sampled_from(["file", "purpose", "expires_after[anchor]", "expires_after[seconds]", "x"])
values = st.sampled_from([b"batch", b"created_at", b"3600", b"", b"\xff"]) | st.binary()
part = st.builds(
    lambda name, file, value, end: (
        f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + end
    ),
    names,
    st.sampled_from(["", '; filename="a"', '; filename=""', '; filename="\u2028"', ";;"]),
    values,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b""]),
)
form = st.lists(part, max_size=5).map(lambda parts: b"".join(parts) + b"--b--\r\n")
PARAMETERS = """
limit=1 limit=x limit=0 order=asc order= after=file-0 after=%ff purpose=batch purpose=%00 x=1
"""
query = st.lists(st.sampled_from(PARAMETERS.split()), max_size=3).map("&".join).map(str.encode)


@settings(SLOW, max_examples=200)
@given(
    asked=st.sampled_from(
        [
            ("POST", "files"),
            *(("GET", f"files{path}") for path in ("", "/x", "/file-0/content", "/\xff", "/a/b")),
            ("DELETE", "files/x"),
        ]
    ),
    content=form | body,
    kind=st.sampled_from(
        ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary="]
    ),
    query=query,
)
def test_no_request_about_files_finds_a_mistake_of_ours(
    target: Target, asked: tuple[str, str], content: bytes, kind: str, query: bytes
) -> None:
    method, path = asked
    headers = {"CONTENT_TYPE": kind}
    status, answer = target.call(method, f"/v1/{path}", query, content, headers)

    assert is_no_mistake(status, answer)
    told = msgspec.json.decode(answer)
    if status >= 400:
        assert set(told["error"]) == {"message", "type", "param", "code"}
    else:
        assert told["object"] in ("file", "list")


line = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": scalar,
        "method": st.just("POST") | scalar,
        "url": st.just("/v1/chat/completions") | scalar,
        "body": asked | value,
        "x": scalar,
    },
)
batch = st.fixed_dictionaries(
    {},
    optional={
        "input_file_id": scalar,
        "endpoint": st.sampled_from(["/v1/chat/completions", "/v1/responses"]) | value,
        "completion_window": st.sampled_from(["24h", "7d", "0h", "1w"]) | scalar,
        "metadata": st.dictionaries(word, scalar) | value,
        "output_expires_after": st.fixed_dictionaries({"anchor": scalar, "seconds": scalar})
        | value,
        "x": scalar,
    },
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.lists(st.fixed_dictionaries({"custom_id": word, "params": asked})) | value
    },
)
BATCHES = [
    *(("POST", f"{base}batches") for base in ("", "messages/")),
    *(
        ("GET", f"{base}batches{rest}")
        for base in ("", "messages/")
        for rest in ("", "/x", "/\xff")
    ),
    *(("POST", f"{base}batches/batch_{'0' * 32}/cancel") for base in ("", "messages/")),
    ("DELETE", "messages/batches/x"),
    ("GET", "messages/batches/x/results"),
]


@settings(SLOW, max_examples=200)
@given(asked=st.sampled_from(BATCHES), content=(batch | messages).map(msgspec.json.encode) | body)
def test_no_request_about_batches_finds_a_mistake_of_ours(
    target: Target, asked: tuple[str, str], content: bytes
) -> None:
    method, path = asked
    status, answer = target.call(method, f"/v1/{path}", b"", content, {})

    assert is_no_mistake(status, answer)
    assert isinstance(msgspec.json.decode(answer), dict)


@settings(SLOW, max_examples=300)
@given(
    endpoint=st.sampled_from(sorted(ENDPOINTS)),
    lines=st.lists(line | value, max_size=4),
)
def test_no_line_of_a_batch_finds_a_mistake_of_ours(endpoint: str, lines: list[Any]) -> None:
    checks = LineChecks(endpoint, 1, None)
    for each in lines:
        with suppress(Invalid):
            checks.task({**each, "url": endpoint} if isinstance(each, dict) else each)
