"""The lines of an export: JSON objects, each with its `kind`. A header is first, an end last."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..core.model.crons import Cron
from ..core.model.errors import Invalid
from ..core.model.files import FILE_ID, StoredFile
from ..core.model.tasks import Batch, Record

VERSION = 1
LONGEST = 256 << 20  # bytes of a line: a task with the largest payload and result is shorter
NO_RESULT = Raw(b"null")
PIECE = 192 << 10  # bytes of a file in a line, before base64


class Header(Struct, frozen=True, tag="ollama_queue_export", tag_field="kind"):
    """What this is: the form's `version`, when the queue was read, since when tasks are in, and how
    many times it had been opened (`boot`), which numbers its changes."""

    version: int
    taken_at: datetime
    since: datetime | None = None
    boot: int = 0


class FlagLine(Struct, frozen=True, tag="flag", tag_field="kind"):
    """A switch of the queue, such as that it is paused."""

    name: str
    value: bool


class CronLine(Struct, frozen=True, tag="cron", tag_field="kind"):
    cron: Cron


class FileLine(Struct, frozen=True, tag="file", tag_field="kind"):
    """A file; its bytes are in the lines that follow."""

    file: StoredFile


class BytesLine(Struct, frozen=True, tag="bytes", tag_field="kind"):
    """The next bytes of a file, in base64."""

    file_id: str
    data: bytes


class BatchLine(Struct, frozen=True, tag="batch", tag_field="kind"):
    """A batch; its counts are those of its tasks, which are counted anew."""

    batch: Batch


class TaskLine(Struct, frozen=True, tag="task", tag_field="kind", omit_defaults=True):
    """A task: its `record`, what it asks (`spec`), and its `result` if there is one.

    `body` is the digest of what was submitted with its idempotency key, if that is still in use.
    """

    record: Record
    spec: Raw
    result: Raw = NO_RESULT
    body: bytes | None = None


class KeyLine(Struct, frozen=True, tag="idempotency_key", tag_field="kind"):
    """An idempotency key of a batch, as its digest; those of tasks are in their lines."""

    key: bytes
    owner: str
    body: bytes
    accepted_at: float


class RowLine(Struct, frozen=True, tag="row", tag_field="kind"):
    """A record that is only kept, such as the history: as the store has it, in base64."""

    family: str
    key: bytes
    value: bytes


class ExportEnd(Struct, frozen=True, tag="end", tag_field="kind"):
    """The export is complete: the numbers of lines by kind."""

    lines: dict[str, int]


Line = (
    Header
    | FlagLine
    | CronLine
    | FileLine
    | BytesLine
    | BatchLine
    | TaskLine
    | KeyLine
    | RowLine
    | ExportEnd
)

encode_line = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def kind_of(line: Any) -> str:
    """The `kind` of a line."""
    return str(line.__struct_config__.tag)


def decode_line(raw: bytes, number: int) -> Line:
    """Decode the line of this number, which counts from 1. Raises `Invalid`."""
    try:
        line: Line = _decode(raw)
    except msgspec.DecodeError as error:
        raise Invalid(
            f"line {number} is not one of an export that this version reads: {error}",
            field=f"line {number}",
        ) from None
    if isinstance(line, FileLine) and FILE_ID.fullmatch(line.file.id) is None:
        raise Invalid(  # it names a file of this machine
            f"line {number} has the file id {line.file.id!r}, which is not file- and 32 hex digits",
            field=f"line {number}",
        )
    return line
