"""Yields control in the midst of work, so that nobody else waits long for a turn.

The server's greenlets run until they let go, and while one runs nobody looks at the network: a
loop over what users send calls `yield_control` each time round. It costs next to nothing, and
yields only when the network has not been looked at for some milliseconds. How is handed in with
the `Runtime`. The core is never given it: what is long there goes in steps, and whoever drives
them yields.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
YieldControl = Callable[[], None]


def never_yield() -> None:
    """Nothing: the interpreter has threads take turns by itself."""


def run_steps(steps: Generator[None, None, T], yield_control: YieldControl) -> T:
    """What comes of the steps; `yield_control` is called between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        yield_control()


def cooperatively(items: Iterable[T], yield_control: YieldControl) -> Iterator[T]:
    """The items; `yield_control` is called behind each."""
    for item in items:
        yield item
        yield_control()
