"""Uploaded files, and files that the queue has written: their records. The bytes are elsewhere."""

import re
from datetime import datetime

from msgspec import Struct

UPLOAD_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
BATCH_OUTPUT = "batch_output"
PURPOSES = (*UPLOAD_PURPOSES, BATCH_OUTPUT)
FILE_ID = re.compile("file-[0-9a-f]{32}")


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file that the queue keeps: `size` in bytes. It is deleted at `expires_at`, if that is set.

    `purpose` is one of `PURPOSES`. `tenant` is whose it is. Ids sort
    by the time of their creation.
    """

    id: str
    filename: str
    purpose: str
    size: int
    created_at: datetime
    expires_at: datetime | None = None
    tenant: str | None = None


class FilePage(Struct, frozen=True):
    """A page of a list of files; `has_more`: whether others follow."""

    files: list[StoredFile]
    has_more: bool


def id_of_file(minted: str) -> str:
    """The id of a file, from an id that `ids.mint` has made."""
    return f"file-{minted.replace('-', '')}"
