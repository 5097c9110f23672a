"""Copies `QueueAPI`'s docstrings to a class that has its verbs but does not inherit from it."""

from typing import TypeVar

from .queue_api import QueueAPI

C = TypeVar("C", bound=type)


def documented(cls: C) -> C:
    """Copy docstrings from `QueueAPI` to the verbs of `cls` that have none.

    Subclasses of `QueueAPI` do not need this: `help` and editors find inherited docstrings.
    """
    for name in dir(QueueAPI):
        if not name.startswith("_") and getattr(cls, name).__doc__ is None:
            getattr(cls, name).__doc__ = getattr(QueueAPI, name).__doc__
    return cls
