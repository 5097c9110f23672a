"""The numbered events of a response's stream, from a task's chunks.

A number says which chunk of which attempt an event came from, so that readers agree on it, whenever
and from wherever they read: events are numbered from 0, those of a further attempt from a multiple
of `STRIDE`. A reader that gives the last number it has seen gets what follows.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ..model.tasks import Status, Task
from .reply import events_of
from .response import ResponseView

STRIDE = 10_000_000  # more than a reply of the largest size has events
_TERMINAL = {"completed": "response.completed", "incomplete": "response.incomplete"}


class NumberedEvents:
    """The events after number `after`, as they become known; from the first one if it is None.

    `is_queued` says whether the stream tells that the response waits: it is one event more.
    """

    def __init__(self, view: ResponseView, after: int | None, *, is_queued: bool) -> None:
        self._view = view
        self.is_queued = is_queued
        self._last = -1 if after is None else after  # the number of the last event sent
        self._attempt = 0  # the one that `in_progress` was sent for
        self.next_chunk = 0  # the number of the chunk that follows, in the attempt

    @property
    def position(self) -> tuple[int, int] | None:
        """The attempt and number of the chunk to read on after; None for the first one."""
        if self._last < self._head:
            return None
        attempt, number = divmod(self._last, STRIDE)
        return attempt + 1, max(number - self._head, -1)

    @property
    def _head(self) -> int:
        """How many events precede those of an attempt's first chunk."""
        return 3 if self.is_queued else 2

    def opening(self) -> Iterator[dict[str, Any]]:
        """The events that are known from the start."""
        yield from self._numbered(0, "response.created", "queued" if self.is_queued else None)
        if self.is_queued:
            yield from self._numbered(1, "response.queued", "queued")

    def running(self, attempt: int) -> Iterator[dict[str, Any]]:
        """The events that an attempt has begun."""
        if attempt > self._attempt:
            self._attempt, self.next_chunk = attempt, 0
            yield from self._numbered(self._base - 1, "response.in_progress", "in_progress")

    def take(self, attempt: int, number: int, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a chunk: one event, or the complete result where chunks are lost."""
        yield from self.running(attempt)
        events: Iterable[dict[str, Any]] = (data,)
        if "output" in data:
            number, events = 0, events_of(data)
        for event in events:
            yield from self._sent(self._base + number, event)
            number += 1
        self.next_chunk = number

    def end(self, attempt: int, number: int, task: Task) -> Iterator[dict[str, Any]]:
        """The last event, with the whole response; `number` is that of the last chunk."""
        yield from self.running(attempt)
        self.next_chunk = max(self.next_chunk, number)
        response = self._view.of(task)
        kind, at = _TERMINAL.get(response["status"]), self._base + self.next_chunk
        if kind is None:  # how far its readers were may be forgotten
            kind, at = "response.failed", max(at, self._last + 1)
        if task.status is Status.CANCELLED:
            message = f"the response was cancelled: task {task.id}"
            response["error"] = {"code": "cancelled", "message": message}
        yield from self._sent(at, {"type": kind, "response": response})

    def failed(self, error: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The last event for a reader whose stream cannot go on."""
        response = {**self._view.waiting("failed"), "error": error}
        event = {"type": "response.failed", "response": response}
        yield from self._sent(self._last + 1, event)

    @property
    def _base(self) -> int:
        """The number of the first event that comes from a chunk."""
        return max(self._attempt - 1, 0) * STRIDE + self._head

    def _numbered(self, number: int, kind: str, status: str | None) -> Iterator[dict[str, Any]]:
        response = self._view.waiting(status or "in_progress")
        yield from self._sent(number, {"type": kind, "response": response})

    def _sent(self, number: int, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if number > self._last:
            self._last = number
            whole = self._view.identified(event) if "output_index" in event else event
            yield {"type": whole["type"], "sequence_number": number, **whole}
