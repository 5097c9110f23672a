"""To the EventBus: what has happened, and who wants to hear of it."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from ..model.events import EventRecord
from ..model.stats import Minute
from .command import Command
from .wake import Wake


class Publish(Struct, frozen=True):
    """These are on disk now. Of a large batch they are made only as they are taken."""

    events: Iterable[EventRecord]


class Chunks(Struct, frozen=True):
    """Pieces of a running task's reply, the first of them being number `first`.

    The worker that is `sender` is told `ChunksReady` once they are taken, and sends no more before.
    """

    sender: Any
    task_id: str
    attempt: int
    first: int
    pieces: tuple[Any, ...]


class Subscribe(Command[bool], frozen=True):
    """Put events into `mailbox`: those named, of the tasks named (None: all). Reply: True."""

    mailbox: Any
    events: frozenset[str] | None = None
    tasks: frozenset[str] | None = None


class Attach(Command[bool], frozen=True):
    """Put the chunks of a task into `mailbox`, from the first that is still there. Reply: True."""

    mailbox: Any
    task_id: str


class Unsubscribe(Command[bool], frozen=True):
    """Put nothing more into `mailbox`. Reply: True."""

    mailbox: Any


class GetHistory(Command[list[Minute]], frozen=True):
    """What happened in the last hour, as far as this boot saw it? Reply: a list of `Minute`."""


class GetThroughput(Command[float], frozen=True):
    """How many tasks end? Reply: those of the last 60 s, as a number a second."""


class CloseSubscriptions(Command[bool], frozen=True):
    """Close every mailbox, saying why. Reply: True."""

    reason: str


ToEventBus = (
    Publish
    | Chunks
    | Subscribe
    | Attach
    | Unsubscribe
    | GetHistory
    | GetThroughput
    | CloseSubscriptions
    | Wake
)
