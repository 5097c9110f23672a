"""README_zh.md is README.md in Chinese: the same headings, code, links and numbers, in order."""

import re

from tests.support.servers.real_models import ROOT

ENGLISH = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README_zh.md").read_text()


def code_of(text: str) -> list[str]:
    return re.findall(r"```.*?```", text, re.DOTALL)


def prose_of(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def heading_levels(text: str) -> list[str]:
    return re.findall(r"^#+(?= )", prose_of(text), re.MULTILINE)


def links(text: str) -> list[str]:
    """Where links and pictures lead to; of links inside the document, that they are some."""
    targets = re.findall(r"\]\(([^)]+)\)", prose_of(text))
    files = {"README.md", "README_zh.md"}
    return sorted("#" if target[0] == "#" else target for target in targets if target not in files)


def spans(text: str) -> list[str]:
    """What is written in backticks, which no language changes, paragraph by paragraph."""
    return [
        " ".join(sorted(re.findall(r"`([^`]+)`", paragraph)))
        for paragraph in re.split(r"\n\n|^[|-] ", prose_of(text), flags=re.MULTILINE)
        if "`" in paragraph
    ]


def numbers(text: str) -> list[str]:
    """All figures of each paragraph. Small numbers may be words in either language."""
    return [
        " ".join(sorted(re.findall(r"\d[\d,.]*\d|\d", paragraph)))
        for paragraph in re.split(r"\n\n|^[|-] ", prose_of(text), flags=re.MULTILINE)
        if re.search(r"\d", paragraph)
    ]


def test_the_headings_are_the_same() -> None:
    assert heading_levels(CHINESE) == heading_levels(ENGLISH)


def test_the_code_is_the_same() -> None:
    assert code_of(CHINESE) == code_of(ENGLISH)


def test_the_links_are_the_same() -> None:
    assert links(CHINESE) == links(ENGLISH)


def test_what_stands_in_backticks_is_the_same() -> None:
    assert spans(CHINESE) == spans(ENGLISH)


def test_the_numbers_are_the_same() -> None:
    assert numbers(CHINESE) == numbers(ENGLISH)


def test_links_inside_the_document_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", prose_of(CHINESE), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    inside = re.findall(r"\]\(#([^)]+)\)", CHINESE)
    assert len(inside) == len(re.findall(r"\]\(#([^)]+)\)", ENGLISH)) > 0
    assert set(inside) <= anchors


def test_each_language_leads_to_the_other() -> None:
    assert "(README_zh.md)" in ENGLISH
    assert "(README.md)" in CHINESE
