"""What is said of an uploaded file."""

import pytest

from ollama_queue.actors.core.intake.uploads import filename
from ollama_queue.actors.core.model.errors import Invalid


@pytest.mark.parametrize(
    ("sent", "name"), [("a.jsonl", "a.jsonl"), ("/tmp/ä b.txt", "ä b.txt"), ("C:\\x\\y", "y")]
)
def test_a_name_is_the_last_part_of_a_path(sent: str, name: str) -> None:
    assert filename(sent) == name


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("", "file must have a name, such as requests.jsonl"),
        ("folder/", "file must have a name, such as requests.jsonl"),
        ("a\nb", r"file must have a name without control characters, not 'a\nb'"),
        ("\u202etxt.exe", r"file must have a name without control characters, not '\u202etxt.exe'"),
        ("x" * 257, "file must have at most 256 characters, it has 257"),
    ],
)
def test_a_wrong_name_is_told_what_is_wrong(sent: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        filename(sent)

    assert (caught.value.message, caught.value.field) == (words, "file")
