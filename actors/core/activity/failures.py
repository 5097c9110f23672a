"""Why tasks failed: the cause of a failure, which many tasks may share."""

import hashlib
import re
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from ..model.errors import cut
from ..model.tasks import PublicRecord, Record, Status

WORDS = 200  # characters of a cause's words
READ = 2000  # characters of an error that are read
OTHER = "other"
CAUSE_ID = re.compile("[0-9a-f]{16}")

_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|`[^`]*`|“[^”]*”")
# What differs between failures of one cause, and what is written in its place; the order matters.
_VARIABLE = (
    (r"(?:https?|wss?)://[^\s\"'<>]*[^\s\"'<>.,:;)]", "<url>"),
    (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<id>"),
    (r"(?<![\w.])[~.]{0,2}(?:/[\w.@+-]+){2,}/?", "<path>"),
    (r"\b(?:0x[0-9a-fA-F]+|(?=\d*[a-fA-F])(?=[a-fA-F]*\d)[0-9a-fA-F]{8,})\b", "<hex>"),
    (r"\b(?=\w*\d\w*\d\w*\d)(?=\w*[A-Za-z])\w{12,}\b", "<id>"),
    (r"\d+(?:[.,:]\d+)*", "#"),
)
_ANY = re.compile("|".join(f"({pattern})" for pattern, _ in _VARIABLE))
_PLACEHOLDERS = ("", *(placeholder for _, placeholder in _VARIABLE))


class FailureCause(Struct, frozen=True):
    """What failures have in common. `id` is made of the others, so it is the same in every queue.

    `code` is the error's code (`expired`), or the HTTP status of the model server's answer, or
    None; `backend` the server that was called last, or None; `words` the error without what differs
    from one failure to the next.
    """

    id: str
    code: str | None
    backend: str | None
    words: str


class FailureGroup(Struct, PublicRecord, frozen=True, kw_only=True):
    """Failed tasks of one cause.

    - `id` selects them in filters, as `failure`; `count` is their number, now.
    - Their cause: `code`, the error's code, or the HTTP status of the model server's answer, or
      None; `backend`, the server that was called last, or None; `words`, the error without what
      differs from task to task (`#` for numbers, `"…"`, `<id>`, `<hex>`, `<path>`, `<url>`).
    - `first_at` and `last_at`, when the first and the last of them failed; `latest_error`, the
      complete error of the last; `examples`, the ids of the last three.

    What belongs to too many causes to count is in one group, whose id is "other".
    """

    id: str
    code: str | None
    backend: str | None
    words: str
    count: int
    first_at: datetime
    last_at: datetime
    latest_error: str
    examples: list[str]


def normalised(error: str) -> str:
    """An error without what differs between failures of one cause, on one line, cut."""
    text = _QUOTED.sub('"…"', error[:READ])
    return cut(" ".join(map(_without_variables, text.split())), WORDS)


@lru_cache(maxsize=8192)
def _without_variables(word: str) -> str:
    """A word with placeholders. Cached: most words of errors are always the same ones."""
    return _ANY.sub(lambda found: _PLACEHOLDERS[found.lastindex or 0], word)


def cause_of(record: Record) -> FailureCause | None:
    """Why a task failed; None if it has not."""
    if record.status is not Status.FAILED:
        return None
    last = record.attempts[-1] if record.attempts else None
    status = None if last is None or last.status is None else str(last.status)
    code = status if record.error_code is None else record.error_code.value
    return _cause(code, record.executed_on, normalised(record.error or ""))


@lru_cache(maxsize=1024)
def _cause(code: str | None, backend: str | None, words: str) -> FailureCause:
    text = "\0".join((code or "", backend or "", words))
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return FailureCause(digest, code, backend, words)
