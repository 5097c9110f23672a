"""The limits of a reply, and how it falls into lines."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.text.json_weight import MOST_PARTS
from ollama_queue.actors.executors.failures import CallFailed
from ollama_queue.actors.executors.http_executor import bounded, lines
from ollama_queue.actors.executors.ollama import OllamaExecutor

MIB = 1 << 20


@given(some.lists(some.binary(max_size=8) | some.sampled_from([b"\n", b"a\nb", b"\r\n"])))
def test_lines_do_not_depend_on_how_the_bytes_came(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)

    assert list(lines(pieces)) == [line.strip() for line in whole.split(b"\n") if line.strip()]


def test_a_line_is_given_out_as_soon_as_it_is_whole() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"a":'
        yield b"1}\n{"
        raise AssertionError("nobody may ask for more")

    assert next(lines(pieces())) == b'{"a":1}'


@pytest.mark.parametrize("piece", [b"x" * 1000, b"x" * MIB + b"x\n"])
def test_a_line_has_a_limit(piece: bytes) -> None:
    with pytest.raises(CallFailed) as caught:
        list(lines([piece] * 2000, limit=MIB))

    assert caught.value.outcome == Failed("a line of the reply is longer than 1 MiB", Verdict.FINAL)


def test_a_line_of_too_many_values_is_not_decoded() -> None:
    executor = OllamaExecutor(Backend(name="ollama", url="http://127.0.0.1:1"), 5.0)

    with pytest.raises(CallFailed) as caught:
        executor.decode(b'{"x":[' + b"{}," * MOST_PARTS + b"1]}")

    words = "a line of the reply must not contain more than 100000 texts, lists and objects"
    assert caught.value.outcome == Failed(words, Verdict.FINAL)


def test_a_reply_has_a_limit() -> None:
    with pytest.raises(CallFailed) as caught:
        list(bounded([b"x\n"] * MIB, limit=MIB))

    assert caught.value.outcome == Failed("the reply is longer than 1 MiB", Verdict.FINAL)


@pytest.mark.parametrize("limited", [bounded, lines])
def test_what_is_as_long_as_the_limit_passes(
    limited: Callable[..., Iterator[bytes]],
) -> None:
    assert list(limited([b"x" * MIB], limit=MIB)) == [b"x" * MIB]
