"""To the EventBus: events and chunks to publish, and who subscribes to them."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from ..activity.measures import BusMeasures
from ..activity.reports import HistoryQuery, UsageQuery
from ..model.events import EventRecord
from ..model.stats import Period, UsageReport
from .command import Command
from .wake import Wake


class Publish(Struct, frozen=True):
    """These events are on disk. Those of a large batch are built only when they are consumed."""

    events: Iterable[EventRecord]


class StreamGrew(Struct, frozen=True):
    """The `StreamLog` of a running task has its first piece, or its memory has changed."""

    task_id: str
    log: Any


class CallsPlaced(Struct, frozen=True):
    """Other servers make these calls, by their keys, and those have ended. With `are_all`, no other
    call is made anywhere; then `late` has the newest that ended before, oldest first, and for how
    many seconds more the pieces of each can be had."""

    placed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    are_all: bool = False
    late: tuple[tuple[str, float], ...] = ()


class StreamEnded(Struct, frozen=True):
    """All pieces of an attempt, whose call this server has made for another, are in its log. The
    readers of the task get this message."""

    task_id: str
    attempt: int


class LendStream(Struct, frozen=True):
    """Have another event bus of this server, `to`, share the log of this attempt: it gets each
    `StreamGrew`, and a `RelayEnded` when all pieces are there."""

    task_id: str
    attempt: int
    to: Any


class ReturnStream(Struct, frozen=True):
    """The log that was lent is not needed any more. The borrower gets a `RelayEnded`."""

    lent: LendStream


class RelayBegun(Struct, frozen=True):
    """To the readers of a task: its pieces come from another server."""

    attempt: int


class RelayEnded(Struct, frozen=True):
    """A relay has ended, with or without the last piece. The readers of the task get this message
    before any event of its end."""

    task_id: str
    attempt: int
    is_complete: bool


class Subscribe(Command[bool], frozen=True):
    """Put events into `mailbox`: by name, and by task (None: all). With `calls`, it also gets where
    calls are made: all of them at first, and then each `CallsPlaced`. Reply: True."""

    mailbox: Any
    events: frozenset[str] | None = None
    tasks: frozenset[str] | None = None
    calls: bool = False


class Follow(Command[bool], frozen=True):
    """Put a task's pieces into `mailbox`, from the first one still kept, and these of its events.

    The pieces of each attempt follow an `AttemptBegun`; an event comes after all pieces that came
    before it. Reply: True.
    """

    mailbox: Any
    task_id: str
    events: frozenset[str]


class Unsubscribe(Command[bool], frozen=True):
    """Put nothing more into `mailbox`. Reply: True."""

    mailbox: Any


class SaveHistory(Struct, frozen=True):
    """From now on, send what is counted to `persistence`, soon and before it is read."""

    persistence: Any


class GetHistory(Command[list[Period]], frozen=True):
    """Reply: the periods that match, including what happened just now."""

    query: HistoryQuery


class GetUsage(Command[UsageReport], frozen=True):
    """Reply: what tasks used, including what happened just now."""

    query: UsageQuery


class MeasureBus(Command[BusMeasures], frozen=True):
    """Count up what happened since the start. `listed`: the canonical names of all models that
    backends list. Reply: `BusMeasures`."""

    listed: frozenset[str]


class GetThroughput(Command[float], frozen=True):
    """Reply: the tasks that ended in the last 60 s, per second."""


class CloseSubscriptions(Command[bool], frozen=True):
    """Close every mailbox with this reason, or all `but_readers` of tasks' pieces. Reply: True.
    `seq` is that of an event that subscribers of this bus need not hear of any more. `stays`: also
    each that comes before the next such message that does not stay."""

    reason: str
    seq: int = 0
    but_readers: bool = False
    stays: bool = False


ToEventBus = (
    Publish
    | StreamGrew
    | StreamEnded
    | LendStream
    | ReturnStream
    | CallsPlaced
    | RelayEnded
    | Subscribe
    | Follow
    | Unsubscribe
    | SaveHistory
    | GetHistory
    | GetUsage
    | MeasureBus
    | GetThroughput
    | CloseSubscriptions
    | Wake
)
