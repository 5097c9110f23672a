"""The docstrings of verbs, for a class that has the verbs of `QueueAPI` but is none."""

from typing import TypeVar

from .queue_api import QueueAPI

C = TypeVar("C", bound=type)


def documented(cls: C) -> C:
    """Give the verbs of `cls` the docstrings that they have in `QueueAPI`, where they have none.

    A subclass of `QueueAPI` needs no such thing: `help` and editors find them there.
    """
    for name in dir(QueueAPI):
        if not name.startswith("_") and getattr(cls, name).__doc__ is None:
            getattr(cls, name).__doc__ = getattr(QueueAPI, name).__doc__
    return cls
