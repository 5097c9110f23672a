"""Files in the store: their records, and the bytes that lie beside it."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from ..core.model.errors import NotFound
from ..core.model.files import FilePage, StoredFile
from ..files.blobs import Blobs
from .encoding import Changes, Family, decode_file, encode

_FIRST, _LAST = b"file-", b"file."  # keys are ids, which sort by time


class FileStore:
    """The files of a store. Bytes come before their record and go after it, so that each record
    has its bytes, and bytes without one are left over from a crash."""

    def __init__(self, families: dict[str, Family], handles: dict[str, Any], blobs: Blobs) -> None:
        self._families, self._handles, self.blobs = families, handles, blobs

    def put(self, changes: Changes, file_id: str, file: StoredFile | None) -> None:
        if file is None:
            changes.delete(file_id.encode(), self._handles["files"])
        else:
            changes.put(file_id.encode(), encode(file), self._handles["files"])

    def get(self, file_id: str) -> StoredFile | None:
        raw = self._families["files"].get(file_id.encode())
        return None if raw is None else decode_file(raw)

    def one(self, file_id: str) -> StoredFile:
        """Raises `NotFound`."""
        file = self.get(file_id)
        if file is None:
            raise no_file(file_id)
        return file

    def page(
        self, limit: int, after: str, purpose: str, ascending: bool, tenant: str | None = None
    ) -> Callable[[], FilePage]:
        """Return a function that reads a page; it may run in any thread.

        Raises `NotFound` if there is no file `after`.
        """
        if after:
            last = self.get(after)
            if last is None or tenant not in (None, last.tenant):
                raise no_file(after, "after")
        start, end = _FIRST, _LAST
        if after and ascending:
            start = after.encode() + b"\x00"
        elif after:
            end = after.encode()
        rows = self._families["files"].snapshot().between(start, end, not ascending)

        def read() -> FilePage:
            found: list[StoredFile] = []
            for _, raw in rows:
                file = decode_file(raw)
                if purpose in ("", file.purpose) and tenant in (None, file.tenant):
                    if len(found) == limit:
                        return FilePage(found, has_more=True)
                    found.append(file)
            return FilePage(found, has_more=False)

        return read

    def expired(self, now: datetime) -> Callable[[], tuple[str, ...]]:
        """Return a function that finds the files to delete; it may run in any thread."""
        rows = self._families["files"].snapshot().between(_FIRST, _LAST)

        def find() -> tuple[str, ...]:
            files = (decode_file(raw) for _, raw in rows)
            return tuple(f.id for f in files if f.expires_at is not None and f.expires_at <= now)

        return find

    def remove_bytes(self, file_ids: list[str]) -> None:
        """Remove the bytes of files whose records are deleted; may be called in any thread."""
        for file_id in file_ids:
            with suppress(OSError):  # a boot removes what is left over
                self.blobs.remove(file_id)

    def drop_leftovers(self, changes: Changes) -> list[str]:
        """Remove bytes without a record, which a crash has left, and records without bytes, which
        somebody has removed. Returns the ids of the latter."""
        there = self.blobs.ids()
        known = {key.decode() for key, _ in self._families["files"].between(_FIRST, _LAST)}
        self.remove_bytes(sorted(there - known))
        lost = sorted(known - there)
        for file_id in lost:
            self.put(changes, file_id, None)
        return lost


def no_file(file_id: str, field: str = "id") -> NotFound:
    return NotFound(f"there is no file {file_id}", field=field)
