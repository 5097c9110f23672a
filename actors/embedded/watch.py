"""Waits for a task, streams its chunks, and subscribes to events.

Each subscribes before it reads, so that it misses nothing. A reboot of the actors closes the
subscription; they then start again with the next generation.
"""

import itertools
import math
import re
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from ..base.actor import Ref, ask, ask_into, tell
from ..base.cooperation import YieldControl, cooperatively, never_yield
from ..base.mailbox import Closed, Mailbox
from ..core.intake.arguments import late
from ..core.messages import Command, Follow, GetTask, RelayBegun, RelayEnded, Subscribe, Unsubscribe
from ..core.messages.replies import StoredTask
from ..core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from ..core.model.event_names import ENDS
from ..core.model.events import EventRecord
from ..core.model.tasks import AttemptBegun, Chunk, Piece, Record, Status
from ..supervision.switchboard import JOIN_S, Generation, Readable, Switchboard

REBOOT_PATIENCE_S = 30.0
RETRY_S = 0.25  # until a read is tried again that the database has not answered
ChunkPosition = tuple[int, int]  # an attempt and the number of a chunk in it
StreamItem = Piece | Chunk  # of a stream; chunks say `restart` or `done`
AT_ONCE_BYTES = 64 << 10  # of a piece; encoding a larger one would keep its call from reading
_UNSENT: Any = object()  # in a mailbox: a piece was not written completely
_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


def wait(switchboard: Switchboard, task_id: str, timeout: float | None) -> StoredTask:
    """Wait until a task has ended. Raises `TimeoutError` after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    now, depart = switchboard.hear(None, JOIN_S)
    while True:
        mailbox = Mailbox[EventRecord]()
        leave = partial(tell, now.bus, Unsubscribe(mailbox))
        try:
            ask(now.bus, Subscribe(mailbox, ENDS, frozenset({task_id})))
            stored = ask(now.persistence, GetTask(task_id))
            while not stored.record.status.is_final:
                mailbox.get(None if deadline is None else deadline - time.monotonic())
                stored = ask(now.persistence, GetTask(task_id))
            return stored
        except TimeoutError:
            raise late(f"task {task_id} has not ended", timeout) from None
        except (Closed, Unavailable) as lost:
            _check(lost)
            depart()
            depart = _nothing
            now, depart = _next(switchboard, now, deadline)
        finally:
            leave()
            depart()


def _nothing() -> None:
    """It has been left."""


def _next(
    switchboard: Switchboard, now: Generation | Readable, deadline: float | None
) -> tuple[Generation | Readable, Callable[[], None]]:
    """Wait for what publishes events after `now`. Raises `TimeoutError` at `deadline`."""
    left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.0)
    try:
        return switchboard.hear(now, min(left, REBOOT_PATIENCE_S))
    except Unavailable as error:  # it is still restarting, or no server leads
        is_over = isinstance(error, OutcomeUnknown) or isinstance(now, Readable)
        if is_over and left < REBOOT_PATIENCE_S:
            raise TimeoutError("the queue is still restarting") from None
        raise


def listen(
    switchboard: Switchboard,
    mailbox: Any,
    events: frozenset[str] | None,
    tasks: frozenset[str] | None,
) -> Callable[[], None]:
    """Put events into `mailbox` from now on. Returns a function that ends this.

    Waits while the actors restart.
    """
    old: Generation | Readable | None = None
    while True:
        now, depart = switchboard.hear(old, REBOOT_PATIENCE_S)
        try:
            ask(now.bus, Subscribe(mailbox, events, tasks))
            return partial(_leave, now.bus, mailbox, depart)
        except Unavailable:
            depart()
            if now is old:
                raise
            old = now


def _leave(bus: Ref, mailbox: Any, depart: Callable[[], None]) -> None:
    tell(bus, Unsubscribe(mailbox))
    depart()


def listen_while_leading(
    switchboard: Switchboard, mailbox: Any, events: frozenset[str] | None
) -> Callable[[], None]:
    """As `listen`, of one server among several: begins as soon as this one leads."""
    bus: list[Ref] = []

    def look() -> None:
        if not bus and switchboard.is_leading:
            with suppress(QueueError):  # it has ended meanwhile
                bus.append(switchboard.current().bus)
                tell(bus[0], Subscribe(mailbox, events))

    unwatch = switchboard.watch(look)
    look()

    def leave() -> None:
        unwatch()
        if bus:
            tell(bus[0], Unsubscribe(mailbox))

    return leave


def place(chunk_id: str) -> ChunkPosition:
    """Parse a chunk id into attempt and number. Raises `Invalid`."""
    matched = _PLACE.fullmatch(chunk_id)
    if matched is None:
        raise Invalid(f"{chunk_id!r} is not a chunk id such as 1.17", field="Last-Event-ID")
    return int(matched[1]), int(matched[2])


class PieceStream(Iterator[list[StreamItem]]):
    """A task's reply, in lists of what has arrived: each piece exactly once and in order.

    A chunk that says `restart` takes back all pieces before it, and one that is `done` is the last
    of all. If pieces are no longer kept, the complete reply comes as one when the task ends. Starts
    at the first piece, or after the one at `after`. With `heartbeat`, the list is empty after that
    many seconds of silence; otherwise raises `TimeoutError` after `timeout` seconds of silence.

    `begun` is the attempt of the newest pieces, `task` the task as last read. Until the first list
    is asked for, `task_id` may be set, and `needs_pieces` cleared if only the end matters: then
    pieces are left out where they would come from another server, at a price.

    Once `write` is set, a piece that arrives while the next list is waited for is not delivered but
    passed to `write`, in the thread of the call: no reader is woken. It must not block, and returns
    whether it could write everything; if not, an empty list is delivered.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        task_id: str,
        timeout: float | None = None,
        *,
        after: ChunkPosition | None = None,
        heartbeat: float | None = None,
        yield_control: YieldControl = never_yield,
    ) -> None:
        self.begun: AttemptBegun | None = None
        self.task: Record | None = None
        self.write: Callable[[Piece], bool] | None = None
        self.needs_pieces = True
        self._switchboard, self.task_id = switchboard, task_id
        self._timeout, self._heartbeat = timeout, heartbeat
        self._yield_control = yield_control
        self._reader = _Reader(after)
        self._leave: Callable[[], None] = _nothing
        self._depart: Callable[[], None] = _nothing
        self._has_left = False
        self._heard: Generation | Readable | None = None
        self._lists = self._read()

    def begin(self) -> None:
        """Find out what has the pieces, before the first of them is asked for: whoever has begun
        must `close`. Raises `Unavailable` if nothing has them at the moment."""
        self._heard, self._depart = self._switchboard.hear(None, JOIN_S, calls=True)

    def __next__(self) -> list[StreamItem]:
        return next(self._lists)

    def close(self) -> None:
        """End the stream. May be called from any thread; iterating over it stops."""
        self._has_left = True
        self._leave()
        self._depart()

    def _read(self) -> Iterator[list[StreamItem]]:
        switchboard = self._switchboard
        try:
            if self._heard is None:
                self.begin()
            while not self._has_left:
                now = self._heard
                assert now is not None, "it has begun"
                mailbox = Mailbox[Any](size=100_000)
                leave = self._leave = partial(tell, now.bus, Unsubscribe(mailbox))
                try:
                    yield from self._follow(now, mailbox)
                    return
                except (Closed, Unavailable) as lost:
                    if self._has_left:
                        return
                    _check(lost)
                    if isinstance(now, Readable) and not isinstance(lost, Closed):
                        switchboard.await_change(lambda: not switchboard.may_read, RETRY_S)
                    self._depart()
                    self._heard, self._depart = switchboard.hear(now, REBOOT_PATIENCE_S, calls=True)
                finally:
                    self._leave = _nothing
                    leave()
        finally:
            depart, self._depart = self._depart, _nothing
            depart()

    def _follow(
        self, now: Generation | Readable, mailbox: Mailbox[Any]
    ) -> Iterator[list[StreamItem]]:
        """One mailbox gets everything, so that nothing waits for the disk but the end."""
        at_first = _Answer(mailbox)

        def read_task(followed: bool | QueueError) -> None:
            if isinstance(followed, QueueError):
                at_first.take(followed)
            else:
                ask_into(now.persistence, GetTask(self.task_id), at_first.take)

        self._reader.lose_track()
        joining: Command[bool] = Follow(mailbox, self.task_id, ENDS)
        if isinstance(now, Readable) and not self.needs_pieces:
            joining = Subscribe(mailbox, ENDS, frozenset({self.task_id}))
        ask_into(now.bus, joining, read_task)
        end: list[StreamItem] | None = None
        while end is None:
            try:
                items = self._next(mailbox)
            except Closed as closed:
                if closed.message != "lagged" or at_first.ended is None:
                    raise
                items = (at_first.ended,)
                self._reader.lose_track()
            deliveries: list[StreamItem] = []
            is_unsent = False
            rest = iter(items)
            for item in rest:
                self._yield_control()
                if isinstance(item, Piece):
                    self._reader.take(item, deliveries)
                elif item is _UNSENT:
                    is_unsent = True
                elif isinstance(item, AttemptBegun):
                    self.begun = item
                elif isinstance(item, QueueError):
                    raise item.again()
                else:
                    news = item
                    if isinstance(item, RelayBegun | RelayEnded):
                        self._reader.relay(item)
                        news = at_first.ended  # which may have waited for the relay's last pieces
                    end = None if news is None else self._end(now, mailbox, news, rest)
                    if end is not None:
                        deliveries += end
                        break
            if deliveries or is_unsent or not items:
                yield deliveries

    def _end(
        self,
        now: Generation | Readable,
        mailbox: Mailbox[Any],
        news: EventRecord | StoredTask,
        rest: Iterator[Any],
    ) -> list[StreamItem] | None:
        """The last deliveries, if the task has ended. An event comes after the last piece, the
        disk's answer not always: pieces may be among the `rest` of what has arrived."""
        stored = news if isinstance(news, StoredTask) else None
        task = self.task = news.record if isinstance(news, StoredTask) else news.task
        assert task is not None, "an event of a task"
        if not task.status.is_final:
            return None
        if stored is not None and (self._reader.is_relaying(task) or _is_ahead(task, mailbox)):
            return None  # its last pieces are on their way
        deliveries: list[StreamItem] = []
        if stored is not None:
            ask(now.bus, Unsubscribe(mailbox))  # answered after any log on its way
            for item in itertools.chain(rest, mailbox.drain()):
                self._yield_control()
                if isinstance(item, Piece):
                    self._reader.take(item, deliveries)
                elif isinstance(item, RelayBegun | RelayEnded):
                    self._reader.relay(item)
            if mailbox.reason != "unsubscribed":
                self._reader.lose_track()  # the mailbox overflowed
        elif self.needs_pieces and not self._reader.has_all_of(task):
            stored = ask(now.persistence, GetTask(self.task_id))
            if not stored.record.status.is_final:
                return None  # it was retried meanwhile
        result = None if stored is None else stored.result
        return [*deliveries, *self._reader.end(task, result)]

    def _next(self, mailbox: Mailbox[Any]) -> Collection[Any]:
        if self._has_left:
            raise Closed("unsubscribed")
        try:
            timeout = self._timeout if self._heartbeat is None else self._heartbeat
            return mailbox.take(timeout, None if self.write is None else self._write_at_once)
        except TimeoutError:
            if self._heartbeat is None:
                raise
            return ()

    def _write_at_once(self, item: Any) -> Any:
        """Write the next piece, in the thread of its call; returns what the reader must know."""
        assert self.write is not None
        reader = self._reader
        if not isinstance(item, Piece) or len(item.raw) > AT_ONCE_BYTES:
            return item
        is_next = item.number == reader.next and item.attempt == reader.shown
        if not (is_next and reader.is_joined):
            return item
        try:
            is_written = self.write(item)
        except Exception:  # it is no fault of the call: the reader meets it again
            return item
        reader.next += 1
        return None if is_written else _UNSENT


class _Answer:
    """Puts the task as it was when the reader began to follow into its mailbox, or the error. Keeps
    one that had `ended`: the mailbox may be full by then."""

    def __init__(self, mailbox: Mailbox[Any]) -> None:
        self._mailbox = mailbox
        self.ended: StoredTask | None = None

    def take(self, answer: StoredTask | QueueError) -> None:
        if isinstance(answer, StoredTask) and answer.record.status.is_final:
            self.ended = answer
        self._mailbox.put(answer)


class ChunkStream(Generator[Chunk, None, None]):
    """The chunks of a task's reply, each exactly once and in order, then one that is `done`."""

    def __init__(self, pieces: PieceStream, yield_control: YieldControl = never_yield) -> None:
        self._pieces = pieces
        self._chunks = cooperatively(self._read(), yield_control)

    def send(self, value: None) -> Chunk:
        return next(self._chunks)

    def throw(self, *error: Any) -> Chunk:
        self.close()
        return super().throw(*error)

    def close(self) -> None:
        """End the stream. May be called from any thread; iterating over it stops."""
        self._pieces.close()

    def _read(self) -> Iterator[Chunk]:
        for deliveries in self._pieces:
            for item in deliveries:
                if isinstance(item, Piece):
                    yield Chunk(position(item), msgspec.json.decode(item.raw))
                else:
                    yield item


def position(piece: Piece) -> str:
    """The id of a chunk: `attempt.n`."""
    return f"{piece.attempt}.{piece.number}"


class _Reader:
    """Orders the pieces of a stream: no gaps, no duplicates, a restart after a lost attempt."""

    def __init__(self, after: ChunkPosition | None) -> None:
        self.attempt, last = after or (0, -1)
        self.next = last + 1
        self.shown = self.attempt  # the attempt of the pieces delivered so far
        self.is_joined = False  # whether the pieces that follow have no gap
        self.is_relayed = False  # whether pieces of another server still come
        self.is_whole = False  # whether it has sent all, and they were delivered

    def lose_track(self) -> None:
        """From here on pieces may be missing."""
        self.is_joined = self.is_relayed = False

    def take(self, piece: Piece, deliveries: list[StreamItem]) -> None:
        """Add what is to be delivered of it."""
        attempt, number = piece.attempt, piece.number
        self._advance(attempt)
        if attempt < self.attempt:
            return
        if number in (self.next - 1, self.next):
            self.is_joined = True
        if number != self.next:
            return  # a duplicate, or after a gap: the end delivers the complete reply
        self.next += 1
        if self.shown not in (0, attempt):
            deliveries.append(Chunk(f"{attempt}.0", restart=True))
        self.shown = attempt
        deliveries.append(piece)

    def relay(self, news: RelayBegun | RelayEnded) -> None:
        """Note that the pieces of another server begin or end."""
        self._advance(news.attempt)
        if news.attempt < self.attempt:
            return
        self.is_relayed = isinstance(news, RelayBegun)
        if isinstance(news, RelayEnded):
            self.is_joined = self.is_joined and news.is_complete
            self.is_whole = self.is_whole or self.is_joined

    def _advance(self, attempt: int) -> None:
        if attempt > self.attempt:
            self.attempt, self.next = attempt, 0
            self.is_joined = self.is_relayed = self.is_whole = False

    def is_relaying(self, task: Record) -> bool:
        """Whether the last pieces of the task's reply still come."""
        return self.is_relayed and not self.is_whole and self.attempt == task.attempt

    def has_all_of(self, task: Record) -> bool:
        """Whether all pieces of the reply were delivered."""
        is_whole = self.is_whole or (self.is_joined and not self.is_relayed)
        return is_whole and self.attempt == task.attempt

    def end(self, task: Record, result: bytes | None) -> Iterator[StreamItem]:
        if result is not None and not self.has_all_of(task):
            if self.shown:
                yield Chunk(f"{task.attempt}.0", restart=True)
            yield Piece(task.attempt, 0, result)
            self.next = 1
        error = None if task.status is Status.COMPLETED else task.error or str(task.status)
        last = f"{task.attempt}.{self.next}"
        yield Chunk(last, done=True, error=error, status=task.status)


def _is_ahead(task: Record, mailbox: Mailbox[Any]) -> bool:
    """Whether the event of the change that the disk shows is still to come, as may be where events
    come from another server. A number says which lead it belongs to, in its upper half."""
    is_of_same_lead = mailbox.since >> 32 == task.seq >> 32
    return mailbox.reason is None and is_of_same_lead and mailbox.since < task.seq


def _check(lost: QueueError) -> None:
    """Return if the actors restart. For any other loss, raise `Unavailable`."""
    if not isinstance(lost, Closed) or lost.message == "restarted":
        return
    if lost.message == "lagged":
        raise Unavailable("this reader was too slow and was disconnected") from None
    raise Unavailable("the queue is shutting down", retry_after_s=5) from None
