"""Routines and their steps.

A routine is a generator that does no I/O and uses no clock, thread or event loop. It yields steps,
records that say what to do. It is sent each step's result, or thrown the error the step raised:

    task = yield from ReadTask(task_id)

A shell executes the steps: `Threads` for `QueueManager` and `Client`, `EventLoop` for
`AsyncClient`.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import Batch, Task

R = TypeVar("R")

Routine = Generator["Step[Any]", Any, R]
Leave = Callable[[], Any]
"""Stops a mailbox from receiving; in an event loop it returns an awaitable."""


class Box(Protocol):
    """A mailbox, for threads or for an event loop."""

    def put(self, item: Any) -> bool: ...

    def close(self, reason: str) -> None: ...


class Source(Struct, frozen=True):
    """A mailbox that receives items, and the function that ends this."""

    mailbox: Any
    leave: Leave

    def close(self) -> None:
        """Close the mailbox: waiting for the next item ends with `Closed`."""
        self.mailbox.close("unsubscribed")


class Step(Struct, Generic[R], frozen=True):
    """One step. `yield from` it evaluates to the step's result, an `R`."""

    def __iter__(self) -> Routine[R]:
        answer: R = yield self
        return answer


class Now(Step[float], frozen=True):
    """The time in seconds, on a monotonic clock."""


class Sleep(Step[None], frozen=True):
    seconds: float


class Log(Step[None], frozen=True):
    """Write a line to the `ollama_queue` logger. `level` is a name such as "error"."""

    level: str
    words: str
    values: tuple[Any, ...] = ()
    error: BaseException | None = None


class Deliver(Step[None], frozen=True):
    """Yield an item to the caller that iterates over this routine."""

    item: Any


class Spawn(Step[None], frozen=True):
    """Start another routine that runs concurrently."""

    routine: Callable[[], Routine[None]]
    name: str


class Invoke(Step[R], Generic[R], frozen=True):
    """Call a function; in an event loop, await its result if it is awaitable."""

    function: Callable[[], R | Awaitable[R]]


class CallBack(Step[None], frozen=True):
    """Call a callback for the end of `task_id`. Exceptions are logged, not raised."""

    task_id: str
    function: Callable[[], Any]


class PutNow(Step[bool], frozen=True):
    """Put an item into a channel. False if the channel is full."""

    put_now: Callable[[Any], Any]
    item: Any


class Put(Step[bool], frozen=True):
    """Wait until a channel has room and put an item into it.

    False if the channel is full and cannot be waited for.
    """

    put: Callable[[Any], Any]
    put_now: Callable[[Any], Any]
    item: Any


class Listen(Step[Source], frozen=True):
    """Receive events from now on; up to `ahead` of them are buffered.

    `events` and `tasks` select them; None means all. Raises `Unavailable` if the queue cannot be
    reached within `patience_s` seconds.
    """

    events: frozenset[str] | None
    tasks: frozenset[str] | None = None
    patience_s: float = 0.0
    ahead: int = 1000


class Receive(Step[Any], frozen=True):
    """Receive the next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""

    source: Source
    timeout: float | None = None


class Release(Step[None], frozen=True):
    """Stop receiving from a source."""

    source: Source


class ReadTask(Step[Task], frozen=True):
    """Read a complete task. Raises `NotFound`."""

    task_id: str


class ReadBatch(Step[Batch], frozen=True):
    """Read a batch. Raises `NotFound`."""

    batch_id: str


class ReadPage(Step[TaskPage], frozen=True):
    """Read one page of a list of tasks."""

    filter: TaskFilter


class Drive(Generic[R]):
    """A running routine, for the shell that executes its steps.

    Each method returns the next step. None means that the routine has returned; `result` is what
    it returned.
    """

    result: R

    def __init__(self, routine: Routine[R]) -> None:
        self._routine = routine

    def send(self, answer: Any) -> Step[Any] | None:
        """Pass the result of the last step (None at the start) to the routine."""
        try:
            return self._routine.send(answer)
        except StopIteration as end:
            self.result = end.value
            return None

    def throw(self, error: BaseException) -> Step[Any] | None:
        """Raise the last step's error in the routine."""
        try:
            return self._routine.throw(error)
        except StopIteration as end:
            self.result = end.value
            return None
