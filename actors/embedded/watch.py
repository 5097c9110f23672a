"""Watching from a door: one task until it ends, or chunk by chunk, and all events.

Each subscribes first and reads then, so that nothing falls between; a reboot of the actors closes
the subscription, and they begin anew with the next generation.
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
    """The task once it has ended. Raises `TimeoutError` after `timeout` seconds."""
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
    """The generation after `now`. Raises `TimeoutError` where it comes too late."""
    left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.0)
    try:
        return switchboard.after(now, min(left, REBOOT_PATIENCE_S))
    except OutcomeUnknown:  # it still restarts
        if left < REBOOT_PATIENCE_S:
            raise TimeoutError("the queue still restarts") from None
        raise


def listen(
    switchboard: Switchboard,
    mailbox: Any,
    events: frozenset[str] | None,
    tasks: frozenset[str] | None,
) -> Callable[[], None]:
    """Put events into `mailbox` from now on; returns how to leave. Waits a reboot out."""
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
    """Attempt and number of a chunk. Raises `Invalid` for what is no chunk's id."""
    matched = _PLACE.fullmatch(chunk_id)
    if matched is None:
        raise Invalid(f"{chunk_id!r} is not a chunk id such as 1.17", field="Last-Event-ID")
    return int(matched[1]), int(matched[2])


class ChunkStream(Generator[Chunk | None, None, None]):
    """The chunks of a task's reply, each exactly once and in order, and one that is `done`.

    What is no longer buffered comes as one chunk with the whole reply when the task ends. Begins
    at the first chunk, or behind the one that `after` names. With `heartbeat` it gives None after
    so many seconds of silence, else it raises `TimeoutError` after `timeout` of them.
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
        """End it, from any thread: whoever waits for the next chunk gets none."""
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
        # One mailbox for both: the end comes behind the last chunk.
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
        ask(now.bus, Unsubscribe(mailbox))  # behind the last pieces, if they are on their way
        for item in mailbox.drain():
            if isinstance(item, Chunk):
                yield from self._reader.take(item)
        if mailbox.reason != "unsubscribed":
            self._reader.is_joined = False  # not all pieces had room in it
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
    """Keeps the promise of a stream: no gap, no repetition, a restart where an attempt was lost."""

    def __init__(self, after: ChunkPosition | None) -> None:
        self.attempt, last = after or (0, -1)
        self.next = last + 1
        self.shown = self.attempt  # the attempt of the chunks that were handed out
        self.is_joined = False  # what follows is known to have no gap

    def take(self, chunk: Chunk) -> Iterator[Chunk]:
        attempt, number = place(chunk.id)
        if attempt > self.attempt:
            self.attempt, self.next, self.is_joined = attempt, 0, False
        if attempt < self.attempt:
            return
        if number in (self.next - 1, self.next):
            self.is_joined = True
        if number != self.next:
            return  # seen before, or behind a gap: then the end brings the whole
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
    """Only a reboot is waited out."""
    if not isinstance(lost, Closed) or lost.message == "restarted":
        return
    if lost.message == "lagged":
        raise Unavailable("this reader was too slow and was disconnected") from None
    raise Unavailable("the queue is shutting down", retry_after_s=5) from None
