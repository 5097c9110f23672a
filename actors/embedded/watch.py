"""Waits for a task, streams its chunks, and subscribes to events.

Each subscribes before it reads, so that it misses nothing. A reboot of the actors closes the
subscription; they then start again with the next generation.
"""

import math
import re
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import msgspec

from ..base.actor import ask, tell
from ..base.cooperation import YieldControl, cooperatively, never_yield
from ..base.mailbox import Closed, Mailbox
from ..core.intake.arguments import late
from ..core.messages import Attach, GetTask, Subscribe, Unsubscribe
from ..core.messages.replies import StoredTask
from ..core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from ..core.model.event_names import ENDS
from ..core.model.events import EventRecord
from ..core.model.tasks import Chunk
from ..supervision.switchboard import Generation, Switchboard

REBOOT_PATIENCE_S = 30.0
ChunkPosition = tuple[int, int]  # an attempt and the number of a chunk in it
_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


def wait(switchboard: Switchboard, task_id: str, timeout: float | None) -> StoredTask:
    """Wait until a task has ended. Raises `TimeoutError` after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    now = switchboard.current()
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
            now = _next(switchboard, now, deadline)
        finally:
            leave()


def _next(switchboard: Switchboard, now: Generation, deadline: float | None) -> Generation:
    """Wait for the generation after `now`. Raises `TimeoutError` at `deadline`."""
    left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.0)
    try:
        return switchboard.after(now, min(left, REBOOT_PATIENCE_S))
    except OutcomeUnknown:  # it is still restarting
        if left < REBOOT_PATIENCE_S:
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
    old: Generation | None = None
    while True:
        now = switchboard.after(old, REBOOT_PATIENCE_S)
        try:
            ask(now.bus, Subscribe(mailbox, events, tasks))
            return partial(tell, now.bus, Unsubscribe(mailbox))
        except Unavailable:
            if now is old:
                raise
            old = now


def place(chunk_id: str) -> ChunkPosition:
    """Parse a chunk id into attempt and number. Raises `Invalid`."""
    matched = _PLACE.fullmatch(chunk_id)
    if matched is None:
        raise Invalid(f"{chunk_id!r} is not a chunk id such as 1.17", field="Last-Event-ID")
    return int(matched[1]), int(matched[2])


class ChunkStream(Generator[Chunk | None, None, None]):
    """The chunks of a task's reply, each exactly once and in order, then one that is `done`.

    If chunks are no longer buffered, the complete reply comes as one chunk when the task ends.
    Starts at the first chunk, or after the one at `after`. With `heartbeat`, yields None after that
    many seconds of silence; otherwise raises `TimeoutError` after `timeout` seconds of silence.
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
        self._switchboard, self._task_id = switchboard, task_id
        self._timeout, self._heartbeat = timeout, heartbeat
        self._reader = _Reader(after)
        self._leave: Callable[[], None] = lambda: None
        self._has_left = False
        self._chunks = cooperatively(self._read(), yield_control)

    def send(self, value: None) -> Chunk | None:
        return next(self._chunks)

    def throw(self, *error: Any) -> Chunk | None:
        self.close()
        return super().throw(*error)

    def close(self) -> None:
        """End the stream. May be called from any thread; iterating over it stops."""
        self._has_left = True
        self._leave()

    def _read(self) -> Iterator[Chunk | None]:
        now = self._switchboard.current()
        while not self._has_left:
            mailbox = Mailbox[EventRecord | Chunk](size=100_000)
            leave = self._leave = partial(tell, now.bus, Unsubscribe(mailbox))
            try:
                yield from self._follow(now, mailbox)
                return
            except (Closed, Unavailable) as lost:
                if self._has_left:
                    return
                _check(lost)
                now = self._switchboard.after(now, REBOOT_PATIENCE_S)
            finally:
                leave()

    def _follow(
        self, now: Generation, mailbox: Mailbox[EventRecord | Chunk]
    ) -> Iterator[Chunk | None]:
        # One mailbox for both, so that the end comes after the last chunk.
        ask(now.bus, Subscribe(mailbox, ENDS, frozenset({self._task_id})))
        ask(now.bus, Attach(mailbox, self._task_id))
        self._reader.is_joined = False
        stored = ask(now.persistence, GetTask(self._task_id))
        while not stored.record.status.is_final:
            item = self._next(mailbox)
            if item is None:
                yield None
            elif isinstance(item, Chunk):
                yield from self._reader.take(item)
            else:
                stored = ask(now.persistence, GetTask(self._task_id))
        ask(now.bus, Unsubscribe(mailbox))  # answered after any chunks on their way
        for item in mailbox.drain():
            if isinstance(item, Chunk):
                yield from self._reader.take(item)
        if mailbox.reason != "unsubscribed":
            self._reader.is_joined = False  # the mailbox overflowed
        yield from self._reader.end(stored)

    def _next(self, mailbox: Mailbox[EventRecord | Chunk]) -> EventRecord | Chunk | None:
        if self._has_left:
            raise Closed("unsubscribed")
        try:
            return mailbox.get(self._timeout if self._heartbeat is None else self._heartbeat)
        except TimeoutError:
            if self._heartbeat is None:
                raise
            return None


stream = ChunkStream


class _Reader:
    """Orders the chunks of a stream: no gaps, no duplicates, a restart after a lost attempt."""

    def __init__(self, after: ChunkPosition | None) -> None:
        self.attempt, last = after or (0, -1)
        self.next = last + 1
        self.shown = self.attempt  # the attempt of the chunks delivered so far
        self.is_joined = False  # whether the chunks that follow have no gap

    def take(self, chunk: Chunk) -> Iterator[Chunk]:
        attempt, number = place(chunk.id)
        if attempt > self.attempt:
            self.attempt, self.next, self.is_joined = attempt, 0, False
        if attempt < self.attempt:
            return
        if number in (self.next - 1, self.next):
            self.is_joined = True
        if number != self.next:
            return  # a duplicate, or after a gap: the end delivers the complete reply
        self.next += 1
        yield from self._restart(attempt)
        yield chunk

    def end(self, stored: StoredTask) -> Iterator[Chunk]:
        record = stored.record
        is_whole = self.is_joined and self.attempt == record.attempt
        if stored.result is not None and not is_whole:
            if self.shown:
                yield Chunk(f"{record.attempt}.0", restart=True)
            yield Chunk(f"{record.attempt}.0", msgspec.json.decode(stored.result))
            self.next = 1
        error = record.error or (None if stored.result is not None else str(record.status))
        last = f"{record.attempt}.{self.next}"
        yield Chunk(last, done=True, error=error, status=record.status)

    def _restart(self, attempt: int) -> Iterator[Chunk]:
        if self.shown not in (0, attempt):
            yield Chunk(f"{attempt}.0", restart=True)
        self.shown = attempt


def _check(lost: QueueError) -> None:
    """Return if the actors restart. For any other loss, raise `Unavailable`."""
    if not isinstance(lost, Closed) or lost.message == "restarted":
        return
    if lost.message == "lagged":
        raise Unavailable("this reader was too slow and was disconnected") from None
    raise Unavailable("the queue is shutting down", retry_after_s=5) from None
