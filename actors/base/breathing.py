"""Giving way in the midst of work, so that nobody else waits long for a turn.

The server's greenlets run until they let go, and while one runs nobody looks at the network: a
loop over what users send calls `breathe` each time round. It costs next to nothing, and gives way
only when the network has not been looked at for some milliseconds. How is handed in with the
`Runtime`. The core is never given it: what is long there goes in steps, and whoever drives them
breathes.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Breathe = Callable[[], None]


def as_threads_do() -> None:
    """Nothing: the interpreter has threads take turns by itself."""


def driven(steps: Generator[None, None, T], breathe: Breathe) -> T:
    """What comes of the steps; `breathe` is called between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        breathe()


def unhurried(items: Iterable[T], breathe: Breathe) -> Iterator[T]:
    """The items; `breathe` is called behind each."""
    for item in items:
        yield item
        breathe()
