"""Writes and reads the bytes of files piece by piece, in a thread that may block.

A piece is the most that is in memory. What the disk refuses is one sentence.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Self, TypeVar

from ..base.inbox import Future
from ..base.thread_pool import Pool
from ..core.fleet.refusals import refusal
from ..core.model.errors import QueueError, Unavailable
from .blobs import Blobs, OpenBlob
from .free_space import is_full

T = TypeVar("T")
PIECE = 256 << 10  # bytes written or read at once
SYNC_BYTES = 8 << 20  # written between two fsyncs: one at the end would take seconds


class BlobWriter:
    """Writes the bytes of a new file. A context manager: without `finish` they are removed.

    Raises `Unavailable` if they cannot be written. `check_free_space` is called with the number of
    bytes that are about to be written.
    """

    def __init__(
        self, blobs: Blobs, pool: Pool, blob_id: str, check_free_space: Callable[[int], None]
    ) -> None:
        self.id, self.size = blob_id, 0
        self._blobs, self._pool, self._check = blobs, pool, check_free_space
        self._buffer = bytearray()
        self._unsynced = SYNC_BYTES  # checks the space before the first byte
        self._is_finished = False
        self._blob: OpenBlob | None = None

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._buffer += data
        if len(self._buffer) >= PIECE:
            self._flush()

    def finish(self) -> None:
        """Make them durable; from now on they stay."""
        self._flush()
        _in_pool(self._pool, self._opened.sync)
        self._is_finished = True

    @property
    def _opened(self) -> OpenBlob:
        assert self._blob is not None, "used as a context manager"
        return self._blob

    def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            self._unsynced = 0
            self._check(SYNC_BYTES)
            _in_pool(self._pool, self._opened.sync)
        _in_pool(self._pool, partial(self._opened.write, data))

    def __enter__(self) -> Self:
        try:
            _in_pool(self._pool, self._create)
        except BaseException:  # also if the client has left: it may still be created
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # After the writes that are under way, as the descriptor may become another file's.
        self._pool.submit(self._close, _ignore)
        if not self._is_finished:
            self._pool.submit(partial(self._blobs.remove, self.id), _ignore)

    def _create(self) -> None:
        self._blob = self._blobs.create(self.id)

    def _close(self) -> None:
        if self._blob is not None:
            self._blob.close()


class BlobReader(Iterator[bytes]):
    """The bytes of a file in pieces; `close` it after the last. Raises `Unavailable`."""

    def __init__(self, blobs: Blobs, pool: Pool, blob_id: str) -> None:
        self._blobs, self._pool, self._id = blobs, pool, blob_id
        self._blob: OpenBlob | None = None
        try:
            _in_pool(pool, self._open)
        except BaseException:
            self.close()
            raise

    def __next__(self) -> bytes:
        piece = _in_pool(self._pool, self._read)
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        # After the read that is under way, as the descriptor may become another file's.
        self._pool.submit(self._close, _ignore)

    def _open(self) -> None:
        self._blob = self._blobs.open(self._id)

    def _read(self) -> bytes:
        return b"" if self._blob is None else self._blob.read(PIECE)

    def _close(self) -> None:
        blob, self._blob = self._blob, None
        if blob is not None:
            blob.close()


def _in_pool(pool: Pool, work: Callable[[], T]) -> T:
    """Do it in the pool's thread, and wait for it."""
    future: Future[T] = Future()

    def done(result: T | None, error: str | None) -> None:
        if error is None:
            future.set(result)  # type: ignore[arg-type]  # a result, as there is no error
        else:
            future.break_with(_refused(error))

    pool.submit(work, done)
    return future.get(None)


def _refused(error: str) -> QueueError:
    if why := refusal(error):
        return Unavailable(why, retry_after_s=5)
    if is_full(error):
        return Unavailable("the disk is full: there is no room for the file", retry_after_s=5)
    return Unavailable(f"the file cannot be stored or read: {error}", retry_after_s=1)


def _ignore(*_: object) -> None:
    """What is left over is removed at the next boot."""
