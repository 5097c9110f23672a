"""What failures have in common, and what differs between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.core.activity.failures import WORDS, cause_of, normalised
from ollama_queue.actors.core.model.tasks import ErrorCode, Record, Status
from tests.support.recorders import a_record, an_attempt, at


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("timeout: no byte for 300.0 s", "timeout: no byte for # s"),
        ('model "qwen3:8b" not found, try pulling it', 'model "…" not found, try pulling it'),
        (
            "model 'qwen3' isn't there, the server's words",
            "model \"…\" isn't there, the server's words",
        ),
        ("GET http://10.0.0.1:11434/api/chat: 502", "GET <url>: #"),
        ("cannot open /var/lib/models/a.gguf: no space", "cannot open <path>: no space"),
        ("task 01a21cd6-9250-75ce-ac95-a9987c35a779 is gone", "task <id> is gone"),
        ("request req_7f3A9c0d2e5b6a1f failed", "request <id> failed"),
        ("CUDA error at 0x7f00aa: deadbeef01", "CUDA error at <hex>: <hex>"),
        ("line one\n  line   two", "line one line two"),
        ("the server answered 500: out of memory", "the server answered #: out of memory"),
        ("decade faded", "decade faded"),
        ("", ""),
    ],
)
def test_what_differs_is_left_out(error: str, words: str) -> None:
    assert normalised(error) == words


@given(st.text(max_size=300))
def test_any_error_has_bounded_words_on_one_line(error: str) -> None:
    words = normalised(error * 10)
    assert len(words) <= WORDS
    assert "\n" not in words
    assert not any(char.isdigit() and char.isascii() for char in words)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_make_no_difference(one: int, two: int) -> None:
    assert normalised(f"waited {one} ms") == normalised(f"waited {two} ms")


def failed(number: int, error: str, **facts: object) -> Record:
    facts = {"completed_at": at(number), "executed_on": "gpu", **facts}
    return a_record(number, status=Status.FAILED, error=error, **facts)


def test_a_cause_is_of_code_backend_and_words() -> None:
    one = cause_of(failed(1, "after 3 s"))
    assert one is not None
    assert (one.code, one.backend, one.words) == (None, "gpu", "after # s")
    assert len(one.id) == 16
    assert cause_of(failed(2, "after 4 s")) == one
    attempt = replace(an_attempt(1, "no"), status=502)
    others = [
        cause_of(failed(1, "before 3 s")),
        cause_of(failed(1, "after 3 s", executed_on="cpu")),
        cause_of(failed(1, "after 3 s", executed_on=None)),
        cause_of(failed(1, "after 3 s", attempts=[attempt])),
        cause_of(failed(1, "after 3 s", error_code=ErrorCode.EXPIRED)),
    ]
    assert len({one.id, *(other.id for other in others if other)}) == 6
    assert [other.code for other in others if other] == [None, None, None, "502", "expired"]


def test_its_id_is_the_same_in_every_version() -> None:
    cause = cause_of(failed(1, "after 3 s"))
    assert cause is not None
    assert cause.id == "6abdd38eae51c259"


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.FAILED])
def test_others_have_no_cause(status: Status) -> None:
    assert cause_of(a_record(1, status=status, error="no")) is None
