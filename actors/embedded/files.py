"""The files of an embedded queue: bytes go to the disk directly, records through Persistence."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from ..base.actor import ask
from ..base.thread_pool import Pool
from ..core.activity.audit import AuditNote
from ..core.messages import AddFile, DeleteFile, GetFile, ListFiles
from ..core.model.errors import Unavailable
from ..core.model.files import FilePage, StoredFile, id_of_file
from ..core.plan.settle import utc
from ..files.blob_streams import BlobReader, BlobWriter
from ..files.blobs import Blobs
from ..supervision.generation import mint_now
from ..supervision.switchboard import Switchboard

PATIENCE_S = 60.0


class NewFile:
    """A file that is being written: a context manager, whose bytes are gone without `save`."""

    def __init__(self, files: "EmbeddedFiles", writer: BlobWriter, tenant: str | None) -> None:
        self._files, self._writer, self._tenant = files, writer, tenant
        self.write = writer.write

    def save(self, filename: str, purpose: str, expires_after_s: int | None = None) -> StoredFile:
        """Keep the file. Returns once it is durable.

        It is deleted after `expires_after_s` seconds; with None, as `queue.file_retention` says.
        """
        self._writer.finish()
        now = utc(time.time())
        seconds = self._files.retention_s if expires_after_s is None else expires_after_s
        file = StoredFile(
            id=self._writer.id,
            filename=filename,
            purpose=purpose,
            size=self._writer.size,
            created_at=now,
            expires_at=None if seconds is None else now + timedelta(seconds=seconds),
            tenant=self._tenant,
        )
        return self._files.add(file)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)


class EmbeddedFiles:
    """`QueueManager`'s verbs for files. They raise `NotFound` for an unknown id."""

    def __init__(
        self,
        switchboard: Switchboard,
        blobs: Blobs,
        make_pool: Callable[[], Pool],
        check_free_space: Callable[[int], None],
        retention_s: float | None,
    ) -> None:
        """`check_free_space` raises `Unavailable` if there is no room for so many bytes."""
        self._switchboard, self._blobs, self._make_pool = switchboard, blobs, make_pool
        self._check, self.retention_s = check_free_space, retention_s
        self._pool: Pool | None = None

    def close(self) -> None:
        """Stop the thread that writes and reads, and let go of where it does."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.finish(PATIENCE_S)
        self._blobs.release()

    def new(self, tenant: str | None = None) -> NewFile:
        self._switchboard.current()
        blob_id = id_of_file(mint_now())
        return NewFile(self, BlobWriter(self._blobs, self._working(), blob_id, self._check), tenant)

    def add(self, file: StoredFile) -> StoredFile:
        return ask(self._switchboard.current().persistence, AddFile(file), PATIENCE_S)

    def get(self, file_id: str) -> StoredFile:
        return ask(self._switchboard.readable().persistence, GetFile(file_id))

    def page(
        self, limit: int, after: str, purpose: str, ascending: bool, tenant: str | None
    ) -> FilePage:
        command = ListFiles(limit, after, purpose, ascending, tenant)
        return ask(self._switchboard.readable().persistence, command)

    def delete(self, file_id: str, note: AuditNote) -> StoredFile:
        return ask(self._switchboard.current().persistence, DeleteFile(file_id, audit=note))

    def read(self, file_id: str) -> tuple[StoredFile, BlobReader]:
        """The file's record and its bytes; the reader must be closed."""
        file = self.get(file_id)
        try:
            return file, BlobReader(self._blobs, self._working(), file.id)
        except Unavailable:
            self.get(file_id)  # it may have been deleted meanwhile
            raise

    def _working(self) -> Pool:
        if self._pool is None:
            self._pool = self._make_pool()
        return self._pool
