"""The sentences of errors that several places share."""

import pytest

from ollama_queue.actors.core.model.errors import choose_from, unknown_backend


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a", "b"], "choose from a, b"),
        (["a"], "the only one is a"),
        ([], "there are none"),
    ],
)
def test_a_refused_name_is_answered_with_those_that_there_are(names: list[str], words: str) -> None:
    assert choose_from(iter(names)) == words


def test_an_unknown_backend_is_quoted_even_if_it_is_empty_or_long() -> None:
    assert unknown_backend("", ["a"]).message == "there is no backend '': the only one is a"
    assert len(unknown_backend("x" * 4000, ["a"]).message) < 200
