"""Makes text from outside safe to show: characters that are invisible, or that control a terminal,
are written as JSON escapes."""

import re

# Controls (including ESC and C1), invisible formatting (bidirectional overrides, zero-width and
# deprecated characters, tags), line separators, halves of surrogate pairs, and letters that are
# blank.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# They join Persian and Indic letters and emoji; after ASCII they only hide text.
_JOINERS = r"(?<=[^\x00-\x7f])(?:[\ufe0e\ufe0f]|[\u200c\u200d](?=[^\x00-\x7f]|\Z))"
_FOUND = re.compile(f"(?P<joiner>{_JOINERS})|[{_UNSEEN}]")
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str, keep: str = "", before: str = "") -> str:
    """Escape all invisible characters in `text`: U+202E becomes `\\u202e`.

    `keep`: characters that stay as they are. `before`: the end of the previous piece of a text
    that arrives in pieces. Characters that join letters of other scripts or emoji are kept.
    Escaped JSON is still the same JSON.
    """
    if text.isascii() and text.isprintable():
        return text

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        if character in keep or match["joiner"]:
            return character
        return _NAMES.get(character) or escaped(character)

    last = before[-1:]
    return _FOUND.sub(shown, last + text)[len(_FOUND.sub(shown, last)) :]


def escaped(text: str) -> str:
    """Write each character as a JSON escape; those beyond U+FFFF as two."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
