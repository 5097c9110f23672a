"""Trace context: what is valid, what is ignored, and what is sent on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.activity.tracing import child_of, read_parent, read_state, trace_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (VALID, VALID),
        (f" {VALID} ", VALID),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"00-{TRACE}-{PARENT}-03", VALID),  # an unknown flag is not passed on
        (f"cc-{TRACE}-{PARENT}-01-what-comes", VALID),
        (f"cc-{TRACE}-{PARENT}-01", VALID),
        (f"00-{TRACE}-{PARENT}-01-x", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-1", None),
        (f"{VALID}\r\nX-Forged: 1", None),
        ("", None),
    ],
)
def test_a_parent_is_read_as_the_recommendation_says(value: str, read: str | None) -> None:
    assert read_parent(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a=1,b=2", "a=1,b=2"),
        (None, None),
        ("", None),
        ("no member", None),
        ("a=1\r\nX: y", None),
        ("a=é", None),
        ("a=" + "x" * 511, None),
        (",".join(f"k{n}=1" for n in range(33)), None),
    ],
)
def test_a_state_is_passed_on_or_dropped(value: str | None, read: str | None) -> None:
    assert read_state(value) == read


def test_a_state_without_a_parent_is_nothing() -> None:
    assert trace_of(None, "a=1") is None
    assert trace_of("wrong", "a=1") is None


@given(st.text(), st.text())
def test_headers_never_raise(parent: str, state: str) -> None:
    context = trace_of(parent, state)
    if context is not None:
        assert "\n" not in context.traceparent + (context.tracestate or "")


def test_each_attempt_is_a_child_of_its_own() -> None:
    first, second = child_of(VALID, "task", 1), child_of(VALID, "task", 2)

    assert read_parent(first) == first
    assert first.split("-")[1] == TRACE
    assert len({VALID, first, second}) == 3
    assert child_of(VALID, "task", 1) == first
