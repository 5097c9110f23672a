"""Size limits of what users write, all in one place, and the checks for them.

`docs/limits.md` lists them for users. What exceeds them is `Invalid`, before anything is done.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from .errors import Invalid

# Characters, unless stated otherwise. Each of these is repeated in lists, events and the log.
NAME = 256  # of a model, tenant, backend, cron or time zone, an id, an idempotency key, a tier
CRON_EXPR = 256
TEXT = 256  # of `q`, a cursor, and each value of a filter
TAG = 128
TAGS = 64  # of one task
FALLBACKS = 8  # models that may take a task in place of its own
VALUES = 100  # of one field of a filter
IDS = 1000  # per call, or per subscription
AWAITED = 1_000_000  # ids of `as_completed`, which does not send them in one request
METADATA = 64 << 10  # bytes as JSON
OPTION = 256  # bytes as JSON, for each of the runner's options, which tell routes apart
TIMEOUT_S = 7 * 24 * 3600.0
START_WITHIN_S = 365 * 24 * 3600.0

# Text that the queue writes itself, cut if it is longer.
ERROR = 2000  # of a failed call's message
FAULT = 500  # of what is wrong in a line of a batch's file: a batch has up to 100 of them
TITLE = 120
ATTEMPTS = 100  # kept per task, the newest; a backend that is down for days causes many
RECENT = 10  # of them, the newest, keep their complete message
BRIEF = 200  # characters of an older attempt's message, and of each in lists and events
LISTED_ATTEMPTS = 3  # in lists and events: the first and the newest two


def check_text(value: str, name: str, most: int = NAME) -> None:
    """Raise `Invalid`, naming the field, for text of more than `most` characters."""
    if len(value) > most:
        raise Invalid(
            f"{name} must have at most {most} characters, it has {len(value)}", field=name
        )


def check_texts(values: Collection[str], name: str, most: int, each: int) -> None:
    """Raise `Invalid` for more than `most` texts, or one of more than `each` characters."""
    if len(values) > most:
        raise Invalid(f"{name} must be at most {most}, not {len(values)}", field=name)
    for index, value in enumerate(values):
        if len(value) > each:
            check_text(value, f"{name}[{index}]", each)


def check_size(value: Any, name: str, most: int) -> None:
    """Raise `Invalid` for a value of more than `most` bytes as JSON.

    A value that JSON cannot represent is left for other checks.
    """
    try:
        size = len(msgspec.json.encode(value)) if value else 0
    except (TypeError, ValueError, OverflowError, RecursionError):
        return
    if size > most:
        raise Invalid(f"{name} must take at most {most} bytes as JSON, it takes {size}", field=name)
