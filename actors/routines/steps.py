"""Routines, and the steps that they consist of.

A routine is a generator that does no I/O, has no clock, no thread and no event loop. It yields one
step after another, a record that says what is to be done, and is sent what that gave or thrown the
error that it raised:

    task = yield from ReadTask(task_id)

A shell takes the steps: `Threads` for `QueueManager` and `Client`, `EventLoop` for `AsyncClient`.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import Batch, Task

R = TypeVar("R")

Routine = Generator["Step[Any]", Any, R]
Leave = Callable[[], Any]
"""Ends what a mailbox receives; gives something to await in an event loop."""


class Box(Protocol):
    """A mailbox, of threads or of an event loop."""

    def put(self, item: Any) -> bool: ...

    def close(self, reason: str) -> None: ...


class Source(Struct, frozen=True):
    """A mailbox in force, and how to leave it."""

    mailbox: Any
    leave: Leave

    def close(self) -> None:
        """Whoever waits for the next item gets none."""
        self.mailbox.close("unsubscribed")


class Step(Struct, Generic[R], frozen=True):
    """`yield from` it: gives what taking it gave, an `R`."""

    def __iter__(self) -> Routine[R]:
        answer: R = yield self
        return answer


class Now(Step[float], frozen=True):
    """Seconds on a clock that is never set."""


class Sleep(Step[None], frozen=True):
    seconds: float


class Log(Step[None], frozen=True):
    """A line for the `ollama_queue` logger; `level` as in `logging`."""

    level: str
    words: str
    values: tuple[Any, ...] = ()
    error: BaseException | None = None


class Deliver(Step[None], frozen=True):
    """An item for whoever iterates over this routine; taken when the next one is asked for."""

    item: Any


class Spawn(Step[None], frozen=True):
    """Have a routine run beside this one."""

    routine: Callable[[], Routine[None]]
    name: str


class Invoke(Step[R], Generic[R], frozen=True):
    """Call a function of the caller's; in an event loop, await what it gives."""

    function: Callable[[], R | Awaitable[R]]


class CallBack(Step[None], frozen=True):
    """Call somebody who waits for the end of `task_id`; a failure is logged, not raised."""

    task_id: str
    function: Callable[[], Any]


class PutNow(Step[bool], frozen=True):
    """Put an item into a channel; False where that is full."""

    put_now: Callable[[Any], Any]
    item: Any


class Put(Step[bool], frozen=True):
    """Wait until a channel has room, and put an item into it; False where that is full and cannot
    be waited for."""

    put: Callable[[Any], Any]
    put_now: Callable[[Any], Any]
    item: Any


class Listen(Step[Source], frozen=True):
    """Receive events from now on, `ahead` of them before they are taken.

    All, or those named, of all tasks or those named. Raises `Unavailable` where the queue is out of
    reach for `patience_s`.
    """

    events: frozenset[str] | None
    tasks: frozenset[str] | None = None
    patience_s: float = 0.0
    ahead: int = 1000


class Receive(Step[Any], frozen=True):
    """The next item. Raises `Closed`, or `TimeoutError` after `timeout` seconds."""

    source: Source
    timeout: float | None = None


class Release(Step[None], frozen=True):
    """Receive nothing more from it."""

    source: Source


class ReadTask(Step[Task], frozen=True):
    """The whole task. Raises `NotFound`."""

    task_id: str


class ReadBatch(Step[Batch], frozen=True):
    """A batch. Raises `NotFound`."""

    batch_id: str


class ReadPage(Step[TaskPage], frozen=True):
    """One page of a list."""

    filter: TaskFilter


class Drive(Generic[R]):
    """A routine under way, for the shell that takes its steps.

    Each method gives the step to take next; None when there is none, and `result` is what the
    routine gave.
    """

    result: R

    def __init__(self, routine: Routine[R]) -> None:
        self._routine = routine

    def send(self, answer: Any) -> Step[Any] | None:
        """What the last step gave; None at the start."""
        try:
            return self._routine.send(answer)
        except StopIteration as end:
            self.result = end.value
            return None

    def throw(self, error: BaseException) -> Step[Any] | None:
        """The last step has failed."""
        try:
            return self._routine.throw(error)
        except StopIteration as end:
            self.result = end.value
            return None
