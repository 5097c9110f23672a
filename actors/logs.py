"""The format of log lines, text or JSON, and their destination: stderr, or a rotated file."""

import json
import logging
import logging.handlers
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from .core.config.config import LoggingSettings
from .core.model.errors import Invalid
from .core.text.escaping import visible
from .files.private_files import private_opener

ROTATE_AT = 10 << 20  # bytes
KEEP_OLD = 5

_PLAIN = re.compile(r"[\w.:/@+-]+")


class LogLine(NamedTuple):
    """A message with facts: in text they follow as `key=value`, in JSON they are fields.

    `names` are facts that the message already contains.
    """

    message: str
    names: dict[str, Any]
    facts: dict[str, Any]

    def __str__(self) -> str:
        text = self.message
        for name, value in self.facts.items():
            text += f" {name}={_quoted(value) if isinstance(value, str) else value}"
        return visible(text)


class LogLines(NamedTuple):
    """Several lines in one log record, to share the cost of a record."""

    lines: list[LogLine]

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))


@lru_cache(maxsize=1000)  # the same models and backends in most lines
def _quoted(value: str) -> str:
    """Text on one line, quoted where its end would be ambiguous."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Starts each record at the margin. Further lines (a traceback, or a user's text) are
    indented, so that no text can pass for a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        if not isinstance(record.msg, LogLines):
            lines = super().format(record).split("\n")
            return "\n    ".join(visible(line, keep="\t") for line in lines)
        head = f"{self.formatTime(record)} {record.levelname} {record.name}"
        return "\n".join(f"{head} {line}" for line in record.msg.lines)


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (RFC 3339, UTC), `level`, `message`, and any facts."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
        if isinstance(record.msg, LogLines):
            return "\n".join(
                json.dumps({**head, "message": line.message, **line.names, **line.facts})
                for line in record.msg.lines
            )
        head["message"] = record.getMessage()
        if record.exc_info:
            head["exception"] = self.formatException(record.exc_info)
        return json.dumps(head)


def open_handler(settings: LoggingSettings) -> logging.Handler:
    """Create the handler for `settings`. Raises `Invalid` if its file cannot be written."""
    handler = _file_handler(settings.file) if settings.file else logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    return handler


class _File(logging.handlers.RotatingFileHandler):
    """Checks only the file's size, where its parent formats each record to check that.

    The file may thus exceed the limit by one record. A special file (`/dev/null`) is never
    rotated.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            maxBytes=ROTATE_AT,
            backupCount=KEEP_OLD,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._is_file = os.path.isfile(path)

    def _open(self) -> Any:
        """Open the file: a new one is private, an existing one keeps its mode."""
        return open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=private_opener,
        )

    def shouldRollover(self, record: logging.LogRecord) -> int:
        return int(self._is_file and self.stream is not None and self.stream.tell() >= ROTATE_AT)


def _file_handler(path: str) -> logging.Handler:
    try:
        with suppress(FileExistsError):  # if it is not a folder, opening the file reports it
            os.makedirs(os.path.dirname(path) or ".")
        return _File(path)
    except OSError as error:
        message = f"logging.file: {path} cannot be written: {error.strerror}"
        raise Invalid(message, field="logging.file") from None
