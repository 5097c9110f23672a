"""Turns for submits: who sends more than the queue takes waits for itself, not others for it."""

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from msgspec import Struct, field

AT_ONCE = 64  # more do not make the queue faster: it writes all that came during an fsync together


class ClientSubmits(Struct):
    """The submits of one client: how many are in progress, and those that wait, in order."""

    running: int = 0
    waiting: deque[Event] = field(default_factory=deque)


class SubmitTurns:
    """Lets each client have at most `most` submits in progress; its others wait, in order.

    Otherwise a submit would wait for all that came before it, whoever sent them.
    """

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self._lock = Lock()
        self._lines: dict[Hashable, ClientSubmits] = {}  # of clients that have any

    @contextmanager
    def turn(self, client: Hashable) -> Iterator[None]:
        """Wait for a turn of this client, and have it within the block."""
        self._enter(client)
        try:
            yield
        finally:
            self._leave(client)

    def _enter(self, client: Hashable) -> None:
        with self._lock:
            line = self._lines.setdefault(client, ClientSubmits())
            if line.running < self._most:
                line.running += 1
                return
            turn = Event()
            line.waiting.append(turn)
        try:
            turn.wait()
        except BaseException:  # the client has disconnected
            with self._lock:
                has_turn = turn.is_set()
                if not has_turn:
                    line.waiting.remove(turn)
            if has_turn:
                self._leave(client)
            raise

    def _leave(self, client: Hashable) -> None:
        with self._lock:
            line = self._lines[client]
            if line.waiting:
                line.waiting.popleft().set()
                return
            line.running -= 1
            if not line.running:
                del self._lines[client]

    def __len__(self) -> int:
        """How many clients have submits in progress."""
        return len(self._lines)
