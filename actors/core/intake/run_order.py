"""The order in which the lines of a batch's file run: those that share most run together.

Changing from one model to another, and from one system prompt to another, costs a model server a
load, or a prompt read anew. A batch ends with its last line, so the order within it costs nobody.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec

from ..model.ids import digest
from ..model.tasks import NewTask

_SYSTEM = ("system", "developer")


class RunOrder:
    """Collects what each line shares with others."""

    def __init__(self) -> None:
        self._routes: dict[str, list[int]] = {}  # the groups of each, as they first appear
        self._groups: dict[tuple[str, bytes], int] = {}  # by route and opening
        self._lines: list[int] = []  # the group of each

    def add(self, route: str, new: NewTask) -> None:
        """Add the next line: its route and its task."""
        opening = (route, opening_of(new))
        group = self._groups.get(opening)
        if group is None:
            group = self._groups[opening] = len(self._groups)
            self._routes.setdefault(route, []).append(group)
        self._lines.append(group)

    def turns(self) -> Generator[None, None, Sequence[int]]:
        """For each line the turn of its group among those of the batch; empty if there is one.

        It pauses after each line.
        """
        if len(self._groups) == 1:
            return ()
        turn_of, turn = [0] * len(self._groups), 0
        for groups in self._routes.values():
            for group in groups:
                turn_of[group] = turn
                turn += 1
                yield
        for line, group in enumerate(self._lines):
            self._lines[line] = turn_of[group]
            yield
        return self._lines


def opening_of(new: NewTask) -> bytes:
    """A digest of what a model reads before a user's first message: system prompt and tools."""
    payload = new.payload
    said = payload.get("messages", payload.get("input"))
    opening: list[Any] = [payload.get(name) for name in ("system", "instructions", "tools")]
    if isinstance(said, list):
        for message in said:
            if not isinstance(message, Mapping) or message.get("role") not in _SYSTEM:
                break
            opening.append(message.get("content"))
    return digest(msgspec.json.encode(opening))
