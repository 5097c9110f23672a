"""The address of a client counts only if one of our servers has signed it for this request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.fleet.signature import sign, vouched

SECRET = b"s" * 32
TEXT = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]))


@given(address=TEXT, method=TEXT, target=TEXT)
def test_what_a_server_has_signed_counts(address: str, method: str, target: str) -> None:
    assert vouched(SECRET, sign(SECRET, address, method, target), method, target) == address


SIGNED = sign(SECRET, "10.0.0.1", "GET", "/api/tasks")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1 é",
        SIGNED.replace("10.0.0.1", "10.0.0.2"),
        SIGNED[:-1],
        sign(b"", "10.0.0.1", "GET", "/api/tasks"),
        sign(SECRET, "10.0.0.1", "POST", "/api/tasks"),
        sign(SECRET, "10.0.0.1", "GET", "/api/tasks?x=1"),
    ],
)
def test_nothing_else_does(value: str) -> None:
    assert vouched(SECRET, value, "GET", "/api/tasks") is None


def test_without_a_secret_nobody_is_believed() -> None:
    assert vouched(b"", sign(b"", "10.0.0.1", "GET", "/"), "GET", "/") is None
