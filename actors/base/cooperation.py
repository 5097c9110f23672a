"""Yields control during long work, so that others get a turn.

The server's greenlets run until they yield, and the network is not polled meanwhile. So a loop over
user input calls `yield_control` on each iteration: it is cheap, and yields only if the network has
not been polled for some milliseconds. The function comes with the `Runtime`. The core never
receives it: long work there is a generator of steps, and its caller yields between them.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
YieldControl = Callable[[], None]


def never_yield() -> None:
    """Do nothing: the interpreter switches between threads."""


def run_steps(steps: Generator[None, None, T], yield_control: YieldControl) -> T:
    """Run the steps with `yield_control` between them; returns the generator's value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        yield_control()


def cooperatively(items: Iterable[T], yield_control: YieldControl) -> Iterator[T]:
    """Yield the items, calling `yield_control` after each."""
    for item in items:
        yield item
        yield_control()
