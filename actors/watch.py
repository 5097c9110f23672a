"""Watching one task from a door: until it ends, or chunk by chunk.

Both subscribe first and read then, so that nothing falls between; a reboot of the actors closes
the subscription, and they begin anew with the next generation.
"""

import time
from collections.abc import Iterator

import msgspec

from ollama_queue.actors.actor import ask, tell
from ollama_queue.actors.core.errors import QueueError, Unavailable
from ollama_queue.actors.core.messages import Attach, Get, Subscribe, Unsubscribe
from ollama_queue.actors.core.records import Chunk, Event
from ollama_queue.actors.mailbox import Closed, Mailbox
from ollama_queue.actors.persistence import Stored
from ollama_queue.actors.switchboard import Switchboard

ENDS = frozenset({"task_completed", "task_failed", "task_cancelled"})
REBOOT_PATIENCE_S = 30.0


def wait(switchboard: Switchboard, task_id: str, timeout: float | None) -> Stored:
    """The task once it has ended. Raises `TimeoutError` after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    now = switchboard.current()
    while True:
        mailbox = Mailbox[Event]()
        try:
            ask(now.bus, Subscribe(mailbox, ENDS, frozenset({task_id})))
            stored: Stored = ask(now.persistence, Get(task_id))
            while not stored.record.status.is_final:
                mailbox.get(None if deadline is None else deadline - time.monotonic())
                stored = ask(now.persistence, Get(task_id))
            return stored
        except (Closed, Unavailable) as lost:
            _check(lost)
            now = switchboard.after(now, REBOOT_PATIENCE_S)
        finally:
            tell(now.bus, Unsubscribe(mailbox))


def stream(switchboard: Switchboard, task_id: str, timeout: float | None) -> Iterator[Chunk]:
    """The chunks of a task's reply, each exactly once and in order, and one that is `done`.

    What is no longer buffered comes as one chunk with the whole reply when the task ends.
    """
    now = switchboard.current()
    reader = _Reader()
    while True:
        mailbox = Mailbox[Event | Chunk](size=100_000)
        try:
            # One mailbox for both: the end comes behind the last chunk.
            ask(now.bus, Subscribe(mailbox, ENDS, frozenset({task_id})))
            ask(now.bus, Attach(mailbox, task_id))
            stored: Stored = ask(now.persistence, Get(task_id))
            while not stored.record.status.is_final:
                item = mailbox.get(timeout)
                if isinstance(item, Chunk):
                    yield from reader.take(item)
                else:
                    stored = ask(now.persistence, Get(task_id))
            ask(now.bus, Unsubscribe(mailbox))  # behind the last pieces, if they are on their way
            for item in mailbox.drain():
                if isinstance(item, Chunk):
                    yield from reader.take(item)
            yield from reader.end(stored)
            return
        except (Closed, Unavailable) as lost:
            _check(lost)
            now = switchboard.after(now, REBOOT_PATIENCE_S)
        finally:
            tell(now.bus, Unsubscribe(mailbox))


class _Reader:
    """Keeps the promise of a stream: no gap, no repetition, a restart where an attempt was lost."""

    def __init__(self) -> None:
        self.attempt = 0
        self.next = 0
        self.shown = 0  # the attempt of the chunks that were handed out

    def take(self, chunk: Chunk) -> Iterator[Chunk]:
        attempt, number = map(int, chunk.id.split("."))
        if attempt > self.attempt:
            self.attempt, self.next = attempt, 0
        if attempt < self.attempt or number != self.next:
            return  # older, seen before, or behind a gap: the end brings the whole
        self.next += 1
        yield from self._restart(attempt)
        yield chunk

    def end(self, stored: Stored) -> Iterator[Chunk]:
        record = stored.record
        is_whole = self.attempt == record.attempt and self.next > 0
        if stored.result is not None and not is_whole:
            yield from self._restart(record.attempt)
            yield Chunk(f"{record.attempt}.0", msgspec.json.decode(stored.result))
            self.next = 1
        error = record.error or (None if stored.result is not None else str(record.status))
        yield Chunk(f"{record.attempt}.{self.next}", done=True, error=error)

    def _restart(self, attempt: int) -> Iterator[Chunk]:
        if self.shown not in (0, attempt):
            yield Chunk(f"{attempt}.0", restart=True)
        self.shown = attempt


def _check(lost: QueueError) -> None:
    """Only a reboot is waited out."""
    if not isinstance(lost, Closed) or lost.message == "restarted":
        return
    if lost.message == "lagged":
        raise Unavailable("this reader was too slow and has been cut off") from None
    raise Unavailable("the queue is shutting down", retry_after_s=5) from None
