"""To the EventBus: events and chunks to publish, and who subscribes to them."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from ..model.events import EventRecord
from ..model.stats import Minute
from .command import Command
from .wake import Wake


class Publish(Struct, frozen=True):
    """These events are on disk. Those of a large batch are built only when they are consumed."""

    events: Iterable[EventRecord]


class Chunks(Struct, frozen=True):
    """Pieces of a running task's reply, numbered from `first`.

    The worker `sender` is told `ChunksReady` once they are taken, and sends no more before.
    """

    sender: Any
    task_id: str
    attempt: int
    first: int
    pieces: tuple[Any, ...]


class Subscribe(Command[bool], frozen=True):
    """Put events into `mailbox`: by name, and by task (None: all). Reply: True."""

    mailbox: Any
    events: frozenset[str] | None = None
    tasks: frozenset[str] | None = None


class Attach(Command[bool], frozen=True):
    """Put the chunks of a task into `mailbox`, from the first one still kept. Reply: True."""

    mailbox: Any
    task_id: str


class Unsubscribe(Command[bool], frozen=True):
    """Put nothing more into `mailbox`. Reply: True."""

    mailbox: Any


class GetHistory(Command[list[Minute]], frozen=True):
    """Reply: a list of `Minute`, for the last hour as far as this boot has seen it."""


class GetThroughput(Command[float], frozen=True):
    """Reply: the tasks that ended in the last 60 s, per second."""


class CloseSubscriptions(Command[bool], frozen=True):
    """Close every mailbox with this reason. Reply: True."""

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
