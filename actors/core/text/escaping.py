"""Text of strangers as it may be shown: what nobody would see, or a terminal would obey, is
written out as JSON escapes it."""

import re

# Controls (ESC and C1 among them), what formats without being seen (bidirectional overrides,
# zero-width and deprecated characters, tags), separators of lines, halves of surrogate pairs, and
# letters that are blank.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Persian and Indic scripts and emoji are joined by these; after ASCII they only hide.
_JOINERS = r"(?<=[^\x00-\x7f])(?:[\ufe0e\ufe0f]|[\u200c\u200d](?=[^\x00-\x7f]|\Z))"
_FOUND = re.compile(f"(?P<joiner>{_JOINERS})|[{_UNSEEN}]")
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str, keep: str = "", before: str = "") -> str:
    """`text` with all that is unseen written out: U+202E as `\\u202e`.

    `keep`: characters that stay as they are. `before`: what a text that comes in pieces ended with
    so far. Characters that join letters of other scripts or emoji stay. Within a JSON document it
    is another writing of the same document.
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
    """Each character as JSON escapes it: those beyond U+FFFF as two."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
