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
