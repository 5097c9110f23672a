"""How large what users write may be: the one place of these numbers, and what says so.

`docs/limits.md` lists them for users. What goes beyond is `Invalid`, before anything is done.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from .errors import Invalid

# Characters, where nothing else is said. Each of these is repeated in lists, events and the log.
NAME = 256  # of a model, tenant, backend, cron or time zone, an id, an idempotency key, a tier
CRON_EXPR = 256
TEXT = 256  # of `q`, a cursor, and each value that a list is filtered by
TAG = 128
TAGS = 64  # of one task
VALUES = 100  # of one field of a filter
IDS = 1000  # in one call, or followed by one subscription
AWAITED = 1_000_000  # ids of `as_completed`, which sends none of them in one request
METADATA = 64 << 10  # bytes as JSON
OPTION = 256  # bytes as JSON: each of the runner's options, by which backends are told apart
TIMEOUT_S = 7 * 24 * 3600.0

# What the queue writes itself, cut where it is longer.
ERROR = 2000  # of a failed call's words
TITLE = 120
ATTEMPTS = 100  # kept of one task: the newest; a backend that is away for days makes many
RECENT = 10  # of them, the newest again, keep their words whole
BRIEF = 200  # characters of an older attempt's words, and of each in lists and events
LISTED_ATTEMPTS = 3  # in lists and events: the first and the newest two


def check_text(value: str, name: str, most: int = NAME) -> None:
    """Raises `Invalid`, naming the field, for a text of more than `most` characters."""
    if len(value) > most:
        raise Invalid(
            f"{name} must have at most {most} characters, it has {len(value)}", field=name
        )


def check_texts(values: Collection[str], name: str, most: int, each: int) -> None:
    """The same of several: at most `most` of them, with at most `each` characters."""
    if len(values) > most:
        raise Invalid(f"{name} must be at most {most}, not {len(values)}", field=name)
    for index, value in enumerate(values):
        if len(value) > each:
            check_text(value, f"{name}[{index}]", each)


def check_size(value: Any, name: str, most: int) -> None:
    """Raises `Invalid` for what takes more than `most` bytes as JSON.

    What JSON cannot say is for others to find.
    """
    try:
        size = len(msgspec.json.encode(value)) if value else 0
    except (TypeError, ValueError, OverflowError, RecursionError):
        return
    if size > most:
        raise Invalid(f"{name} must take at most {most} bytes as JSON, it takes {size}", field=name)
