"""To a CallRunner: which calls to make, and how they end."""

from typing import Any

from msgspec import Struct

from .command import Command
from .scheduler import Finished, WorkerLost
from .wake import Wake


class CallsSeen(Struct, frozen=True):
    """All calls that the leader has this server make, as a list of `SeenCall`; `asked_at` is from
    before they were read, by the steady clock."""

    asked_at: float
    calls: list[Any]


class EndsWritten(Struct, frozen=True):
    """The ends of these calls are durable, by key, or nobody asks for them any more."""

    keys: tuple[str, ...]


class Retire(Command[bool], frozen=True):
    """Begin no more calls; stop those that still run in `grace_s` seconds. Reply: True, once all
    have ended and that is written."""

    grace_s: float


ToCallRunner = CallsSeen | EndsWritten | Retire | Finished | WorkerLost | Wake
