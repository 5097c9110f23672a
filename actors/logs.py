"""What log lines look like, text or JSON, and where they go: stderr, or a file that is rotated."""

import json
import logging
import logging.handlers
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ollama_queue.actors.core.config import Logging
from ollama_queue.actors.core.errors import Invalid

ROTATE_AT = 10 << 20  # bytes
KEEP_OLD = 5

_PLAIN = re.compile(r"[\w.:/@+-]+")


class Line:
    """A message with facts: in text they follow as `key=value`, in JSON they are fields.

    `names` are facts that the message tells already. Nothing is formatted before it is written.
    """

    __slots__ = ("facts", "message", "names")

    def __init__(self, message: str, names: dict[str, Any], facts: dict[str, Any]) -> None:
        self.message, self.names, self.facts = message, names, facts

    def __str__(self) -> str:
        return " ".join([self.message, *(f"{k}={_value(v)}" for k, v in self.facts.items())])


def _value(value: Any) -> str:
    """On one line, and in quotes where a reader could not tell its end."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (RFC 3339, UTC), `level`, `message`, and facts where there are."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
        if isinstance(record.msg, Line):
            line |= {"message": record.msg.message, **record.msg.names, **record.msg.facts}
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def open_handler(settings: Logging) -> logging.Handler:
    """A handler as `settings` wants it. Raises `Invalid` when its file cannot be written."""
    handler = _file_handler(settings.file) if settings.file else logging.StreamHandler()
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


def _file_handler(path: str) -> logging.Handler:
    try:
        with suppress(FileExistsError):  # one that is no folder is told of when the file is opened
            os.makedirs(os.path.dirname(path) or ".")
        return logging.handlers.RotatingFileHandler(
            path,
            maxBytes=ROTATE_AT,
            backupCount=KEEP_OLD,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        words = f"logging.file: {path} cannot be written: {error.strerror}"
        raise Invalid(words, field="logging.file") from None
