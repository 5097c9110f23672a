"""Reads a form (`multipart/form-data`) as its bytes arrive: no part is ever whole in memory."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ...actors.core.model.errors import Invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MEDIA = "multipart/form-data"
MOST_PARTS = 64


class FormPart(Struct, frozen=True):
    """The head of a part: its data follows. `filename` None: it is a field, not a file."""

    name: str
    filename: str | None


def read_form(pieces: Iterable[bytes], content_type: str) -> Iterator[FormPart | bytes]:
    """Each part's head, followed by its data. Raises `Invalid` for anything but a whole form."""
    media, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if media != MEDIA.encode() or not boundary:
        raise Invalid(f"the body must be a form: {MEDIA}, with a boundary", field="Content-Type")
    form = _FormEvents()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        for piece in pieces:
            parser.write(piece)
            yield from form.take()
    except (FormParserError, ValueError) as error:
        raise Invalid(f"the body is not a form: {error}", field="body") from None
    if not form.is_over:
        raise Invalid("the body is incomplete: the form's last boundary is missing", field="body")


class _FormEvents:
    """Collects what the parser finds in one piece of the body."""

    def __init__(self) -> None:
        self.is_over = False
        self._events: list[FormPart | bytes] = []
        self._parts = 0
        self._name, self._value = bytearray(), bytearray()  # of the current header
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_head,
            "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
            "on_end": self._end,
        }

    def take(self) -> list[FormPart | bytes]:
        events, self._events = self._events, []
        return events

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Invalid(f"a form may have at most {MOST_PARTS} parts", field="body")
        self._disposition = b""

    def _end_header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end_head(self) -> None:
        _, options = parse_options_header(self._disposition)
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise Invalid("each part of a form must have a name", field="body")
        self._events.append(FormPart(_text(name), None if filename is None else _text(filename)))

    def _end(self) -> None:
        self.is_over = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid("the names in a form must be UTF-8", field="body") from None
