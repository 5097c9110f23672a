"""Nothing is unseen: what hides, turns or steers text is written out."""

import json
import sys
import unicodedata

import pytest

from ollama_queue.actors.core.text.escaping import visible

EVERYTHING = "".join(map(chr, range(sys.maxunicode + 1)))
# Formats that are seen: signs of numbers in Arabic, Syriac and Kaithi, joins of hieroglyphs and of
# shorthand.
SEEN = (
    *range(0x600, 0x606),
    *(0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD),
    *range(0x13430, 0x13440),
)
KINDS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, formats, surrogates, separators of lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with \u00fcml\u00e4uts, \u65e5\u672c\u8a9e and \U0001f600", None),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("\x1b[2J\x9b31m\x07", r"\u001b[2J\u009b31m\u0007"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("ad\u200bmin\ufeff", r"ad\u200bmin\ufeff"),
        ("\u2066left\u2069 \u2028", r"\u2066left\u2069 \u2028"),
        ("tag\U000e0041", r"tag\udb40\udc41"),
        ("half \ud83d", r"half \ud83d"),
        ("blank \u3164\u2800\u115f", r"blank \u3164\u2800\u115f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None),  # Persian needs its joiner
        ("\u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469", None),  # and so do emoji
        ("ad\u200dmin\u200c", r"ad\u200dmin\u200c"),  # ASCII does not
    ],
)
def test_what_is_unseen_is_written_out(text: str, shown: str | None) -> None:
    assert visible(text) == (text if shown is None else shown)


def test_no_control_and_no_format_character_is_left() -> None:
    left = {each for each in visible("|".join(EVERYTHING)) if unicodedata.category(each) in KINDS}

    assert left <= set(map(chr, SEEN))


def test_a_json_document_says_the_same() -> None:
    value = {"a\u202e": ["\x9b", "\U000e0041", "\u200d", "\x7f", "\u2028", "plain"]}
    text = json.dumps(value, ensure_ascii=False)

    assert json.loads(visible(text)) == value
    assert visible(text) != text


def test_pieces_read_like_the_whole() -> None:
    whole = "\u2764\ufe0f\u200d\U0001f525\n\x1b[1m x\u200dy \u06cc\u200c\u062e"
    shown, before = "", ""
    for piece in whole:
        shown += visible(piece, keep="\n", before=before)
        before = piece

    assert shown == visible(whole, keep="\n")
