"""What the page for operators says of the log is what the code says."""

import re

import pytest

from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
LINES = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
SOURCES = "\n".join(
    path.read_text() for room in ("actors", "http") for path in (ROOT / room).rglob("*.py")
)
WORDS = re.sub(r'"\s*\n\s*f?"', "", SOURCES)  # a sentence may be written in several pieces


@pytest.mark.parametrize("line", LINES)
def test_each_line_of_the_log_is_logged(line: str) -> None:
    pieces = [piece.strip(" ;:()") for piece in line.split("…")]
    for piece in filter(lambda piece: len(piece) > 3, pieces):
        assert all(part in WORDS for part in re.split(r"; ", piece)), piece


def test_there_are_some() -> None:
    assert len(LINES) >= 10
