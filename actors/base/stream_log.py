"""The reply of one attempt as it arrives: its call appends, and any number of readers follow."""

import threading

from ..core.model.tasks import AttemptBegun, Piece
from .mailbox import Mailbox

LOG_BYTES = 1 << 20  # kept of one attempt's reply
LEAST_BYTES = 128  # counted for a piece, whose objects take as much
STEP_BYTES = 16 << 10  # the log says each time that it has grown by this
MOST_AT_ONCE = 8  # readers that may handle a piece while it is appended; more are only woken


class StreamLog:
    """Shared by the call, which appends, and the event bus, which joins readers and frees memory.

    The two use it from threads of their own. A reader that joins gets the pieces kept so far, then
    each later one as it is appended: every piece once and in order. A log that outgrows `LOG_BYTES`
    keeps nothing for later readers. Appending never waits: a reader whose mailbox is full is
    dropped.
    """

    def __init__(self, begun: AttemptBegun) -> None:
        self.begun = begun
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []
        self.count = 0  # pieces appended so far, kept or not
        self._size = 0  # bytes kept
        self._reserved = 0
        self._is_kept, self._is_closed = True, False
        self._readers: tuple[Mailbox[AttemptBegun | Piece], ...] = ()

    @property
    def attempt(self) -> int:
        return self.begun.attempt

    @property
    def reserved(self) -> int:
        """How many bytes to count for what it keeps: its size, rounded up to a step."""
        return self._reserved

    def is_followed(self) -> bool:
        """Whether somebody reads it at the moment."""
        return bool(self._readers)

    def append(self, raw: bytes) -> bool:
        """Add a piece, the JSON of one object. Returns True if `reserved` has changed by it."""
        with self._lock:
            if self._is_closed:
                return False
            piece = Piece(self.begun.attempt, self.count, raw)
            self.count += 1
            readers = self._readers
            for reader in readers:
                at_once = len(readers) <= MOST_AT_ONCE
                if not (reader.put(piece) if at_once else reader.put_all((piece,))):
                    self._drop(reader)
            if not self._is_kept:
                return False
            self._pieces.append(piece)
            self._size += max(len(raw), LEAST_BYTES)
            if self._size > LOG_BYTES:
                self._empty()
                return True
            if self._size <= self._reserved:
                return False
            self._reserved = -(-self._size // STEP_BYTES) * STEP_BYTES
            return True

    def join(self, reader: Mailbox[AttemptBegun | Piece]) -> None:
        """Put the pieces kept so far into `reader`, and all later ones; once."""
        with self._lock:
            if any(reader is each for each in self._readers):
                return
            if reader.put(self.begun) and reader.put_all(self._pieces) and not self._is_closed:
                self._readers += (reader,)

    def leave(self, reader: Mailbox[AttemptBegun | Piece]) -> None:
        """Put nothing more into `reader`."""
        with self._lock:
            self._drop(reader)

    def empty(self) -> None:
        """Keep no pieces for later readers any more."""
        with self._lock:
            self._empty()

    def close(self) -> None:
        """Discard what is still appended: the attempt was stopped, or another one has begun."""
        with self._lock:
            self._is_closed = True
            self._readers = ()

    def _drop(self, reader: Mailbox[AttemptBegun | Piece]) -> None:
        self._readers = tuple(each for each in self._readers if each is not reader)

    def _empty(self) -> None:
        self._pieces = []
        self._size = self._reserved = 0
        self._is_kept = False
