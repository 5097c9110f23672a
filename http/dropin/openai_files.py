"""OpenAI's files: uploaded as forms, kept on disk, read in pieces."""

from collections.abc import Iterator
from urllib.parse import quote

from ...actors.core.intake import uploads
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Invalid
from ...actors.core.model.files import PURPOSES, StoredFile
from ...actors.embedded.files import NewFile
from .. import wire
from ..pagination import page_of_ids
from ..requests import reading
from ..requests.exchange import Routes, current
from ..requests.form import FormPart, read_form
from ..requests.streaming import StreamingResponse
from ..wire import Json
from .queue_protocol import DropinQueue

FORM_BYTES = 64 << 10  # of an upload besides the file's own
MOST_FILES = 10_000  # in a page
FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")


def add_file_routes(app: Routes, queue: DropinQueue, max_file: int) -> None:
    """Add the routes; `max_file` limits an uploaded file in bytes."""

    def upload() -> Json:
        kind = reading.header("Content-Type") or ""
        form = read_form(reading.passing_pieces(max_file + FORM_BYTES), kind)
        with queue.new_file() as new:
            return shown(_save(form, new, max_file))

    def listed() -> Json:
        query = reading.query({"after", "limit", "order", "purpose"})
        one = {name: reading.as_unicode(values[-1], name) for name, values in query.items()}
        limit = reading.page_limit(query, MOST_FILES, MOST_FILES)
        order, purpose = one.get("order", "desc"), one.get("purpose", "")
        if order not in ("asc", "desc"):
            raise Invalid("order must be asc or desc", field="order")
        if purpose and purpose not in PURPOSES:
            raise Invalid(f"purpose must be one of {', '.join(PURPOSES)}", field="purpose")
        page = queue.list_files(limit, one.get("after", ""), purpose, ascending=order == "asc")
        return page_of([shown(file) for file in page.files], page.has_more)

    def content(file_id: str) -> StreamingResponse:
        file, reader = queue.read_file(file_id)
        answer = StreamingResponse(reader, reader.close, "application/octet-stream")
        current().set_header("Content-Length", str(file.size))
        name = f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}"
        current().set_header("Content-Disposition", name)
        return answer

    def delete(file_id: str) -> Json:
        return {"id": queue.delete_file(file_id).id, "object": "file", "deleted": True}

    app.post(wire.FILES, callback=upload, role=Role.USER)
    app.get(wire.FILES, callback=listed, role=Role.READER, anywhere=True)
    app.get(
        f"{wire.FILES}/<file_id>",
        callback=lambda file_id: shown(queue.get_file(file_id)),
        role=Role.READER,
        anywhere=True,
    )
    app.get(f"{wire.FILES}/<file_id>/content", callback=content, role=Role.READER, anywhere=True)
    app.route(f"{wire.FILES}/<file_id>", "DELETE", delete, role=Role.USER)


def page_of(data: list[Json], has_more: bool) -> Json:
    """A page of a list, as OpenAI has it."""
    return {"object": "list", **page_of_ids(data, has_more)}


def shown(file: StoredFile) -> Json:
    """A file, as OpenAI shows it."""
    expires_at = file.expires_at
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": None if expires_at is None else int(expires_at.timestamp()),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _save(form: Iterator[FormPart | bytes], new: NewFile, max_file: int) -> StoredFile:
    """Write the form's file as it arrives, and save it with what the other parts say of it."""
    fields: dict[str, bytearray] = {}
    filename: str | None = None
    size, part = 0, FormPart("", None)
    for event in form:
        if isinstance(event, FormPart):
            part = event
            if part.name == "file":
                if filename is not None:
                    raise Invalid("send one file", field="file")
                filename = uploads.filename(part.filename or "")
            elif part.name in FIELDS:
                fields[part.name] = bytearray()
        elif part.name == "file":
            size += len(event)
            if size > max_file:
                raise wire.TooLarge(f"the file is larger than {max_file} bytes", field="file")
            new.write(event)
        elif part.name in FIELDS:
            fields[part.name] += event  # all parts but the file's have at most FORM_BYTES
    if filename is None:
        raise Invalid("file is missing: send it as a part named file", field="file")
    purpose = uploads.purpose(_said(fields, "purpose"))
    anchor, seconds = (_said(fields, name) for name in FIELDS[1:])
    return new.save(filename, purpose, uploads.expires_after(anchor, seconds))


def _said(fields: dict[str, bytearray], name: str) -> str | None:
    if name not in fields:
        return None
    try:
        return fields[name].decode()
    except UnicodeDecodeError:
        raise Invalid(f"{name} must be UTF-8", field=name) from None
